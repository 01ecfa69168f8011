import { hash } from 'node:crypto';

/** The CID of a record as a PDS computes it: version 1, DAG-CBOR, SHA-256, in base32. */
export function cidOf(value: unknown): string {
  let scratch = Buffer.allocUnsafe(1024);
  let end = 0;
  const room = (bytes: number): void => {
    if (end + bytes > scratch.length) {
      scratch = Buffer.concat([scratch.subarray(0, end)], (end + bytes) * 2);
    }
  };
  const head = (major: number, length: number): void => {
    room(9);
    const type = major << 5;
    if (length < 24) end = scratch.writeUInt8(type | length, end);
    else if (length < 0x100) end = scratch.writeUInt8(length, scratch.writeUInt8(type | 24, end));
    else if (length < 0x10000) end = scratch.writeUInt16BE(length, scratch.writeUInt8(type | 25, end));
    else if (length < 0x100000000) end = scratch.writeUInt32BE(length, scratch.writeUInt8(type | 26, end));
    else end = scratch.writeBigUInt64BE(BigInt(length), scratch.writeUInt8(type | 27, end));
  };
  const text = (value: string): void => {
    const bytes = Buffer.byteLength(value);
    head(3, bytes);
    room(bytes);
    end += scratch.write(value, end);
  };
  const put = (item: unknown): void => {
    if (typeof item === 'string') text(item);
    else if (item === null) head(7, 22);
    else if (typeof item === 'boolean') head(7, item ? 21 : 20);
    else if (typeof item === 'number') {
      if (Number.isSafeInteger(item)) return item < 0 ? head(1, -1 - item) : head(0, item);
      room(9);
      end = scratch.writeDoubleBE(item, scratch.writeUInt8(0xfb, end));
    } else if (Array.isArray(item)) {
      head(4, item.length);
      item.forEach(put);
    } else if (typeof item === 'object') {
      const entries = Object.entries(item).filter(([, one]) => one !== undefined);
      head(5, entries.length);
      for (const [key, one] of entries.toSorted(([a], [b]) => compare(a, b))) {
        text(key);
        put(one);
      }
    } else throw new Error(`a record cannot hold ${typeof item}`);
  };
  put(value);
  const digest = hash('sha256', scratch.subarray(0, end), 'buffer');
  return `b${base32(Buffer.concat([CID_HEAD, digest]))}`;
}

/** version 1, codec dag-cbor, hash sha2-256 of 32 bytes */
const CID_HEAD = Buffer.from([0x01, 0x71, 0x12, 0x20]);

/** Shorter keys first, and bytewise among those of one length: the one order that DAG-CBOR allows. */
function compare(a: string, b: string): number {
  return Buffer.byteLength(a) - Buffer.byteLength(b) || Buffer.compare(Buffer.from(a), Buffer.from(b));
}

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';

/** Lower-case base32 without padding, as CIDs and did:plc write it. */
export function base32(bytes: Uint8Array): string {
  let text = '';
  let [held, bits] = [0, 0];
  for (const byte of bytes) {
    held = (held << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += ALPHABET[(held >>> (bits - 5)) & 31];
    held &= (1 << bits) - 1;
  }
  return bits === 0 ? text : text + ALPHABET[(held << (5 - bits)) & 31];
}
