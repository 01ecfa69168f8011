import { promisify } from 'node:util';
import { zstdCompress, zstdDecompress } from 'node:zlib';

/** Some entries of a log, as they are stored: their JSON texts joined by line ends, compressed with zstd. */
export interface LogChunk {
  /** How many entries. */
  count: number;
  /** Before compression. */
  bytes: number;
  data: Uint8Array;
}

/** A chunk holds about this much before compression; more only if one entry alone is longer. */
export const chunkBytes = 256 * 1024;

const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);

/** Makes chunks of entries. It has one buffer, so that a log of any length costs no more than that. */
export interface ChunkPacker {
  /** Bytes of the entries that are in no chunk yet. */
  readonly size: number;
  add(entry: string): void;
  /** A chunk of what was added; undefined when nothing was. Compresses beside the event loop: add nothing meanwhile. */
  pack(): Promise<LogChunk | undefined>;
  /** Forgets what was added. */
  clear(): void;
}

export function chunkPacker(): ChunkPacker {
  let buffer = Buffer.allocUnsafeSlow(2 * chunkBytes);
  let size = 0;
  let count = 0;
  const clear = (): void => {
    size = 0;
    count = 0;
  };
  return {
    get size() {
      return size;
    },
    add(entry) {
      const room = size + 1 + 3 * entry.length;
      if (room > buffer.length) {
        const larger = Buffer.allocUnsafeSlow(Math.max(room, 2 * buffer.length));
        buffer.copy(larger, 0, 0, size);
        buffer = larger;
      }
      if (count > 0) buffer[size++] = 0x0a;
      size += buffer.write(entry, size);
      count += 1;
    },
    async pack() {
      if (count === 0) return undefined;
      const chunk = { count, bytes: size, data: await compress(buffer.subarray(0, size)) };
      clear();
      return chunk;
    },
    clear,
  };
}

export async function packEntries(entries: readonly string[]): Promise<LogChunk> {
  const text = Buffer.from(entries.join('\n'));
  return { count: entries.length, bytes: text.length, data: await compress(text) };
}

export const unpackEntries = async (data: Uint8Array): Promise<string[]> =>
  (await decompress(data)).toString('utf8').split('\n');
