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

/** Compresses beside the event loop. */
export async function packEntries(entries: readonly string[]): Promise<LogChunk> {
  const text = Buffer.from(entries.join('\n'));
  return { count: entries.length, bytes: text.length, data: await compress(text) };
}

export const unpackEntries = async (data: Uint8Array): Promise<string[]> =>
  (await decompress(data)).toString('utf8').split('\n');
