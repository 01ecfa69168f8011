import { createHash } from 'node:crypto';

/** The CID of a record as a PDS computes it: version 1, DAG-CBOR, SHA-256, in base32. */
export function cidOf(value: unknown): string {
  const digest = createHash('sha256')
    .update(Buffer.concat(cbor(value)))
    .digest();
  return `b${base32(Buffer.concat([CID_HEAD, digest]))}`;
}

/** version 1, codec dag-cbor, hash sha2-256 of 32 bytes */
const CID_HEAD = Buffer.from([0x01, 0x71, 0x12, 0x20]);

function cbor(value: unknown): Buffer[] {
  if (value === null) return [Buffer.from([0xf6])];
  if (typeof value === 'boolean') return [Buffer.from([value ? 0xf5 : 0xf4])];
  if (typeof value === 'string') return withHead(3, Buffer.from(value, 'utf8'));
  if (typeof value === 'number') return [number(value)];
  if (Array.isArray(value)) return [head(4, value.length), ...value.flatMap(cbor)];
  if (typeof value !== 'object') throw new Error(`a record cannot hold ${typeof value}`);

  // shorter keys first, and bytewise among those of one length: the one order that DAG-CBOR allows
  const entries = Object.entries(value)
    .filter(([, item]) => item !== undefined)
    .map(([key, item]): [Buffer, unknown] => [Buffer.from(key, 'utf8'), item])
    .toSorted(([a], [b]) => a.length - b.length || Buffer.compare(a, b));
  return [head(5, entries.length), ...entries.flatMap(([key, item]) => [...withHead(3, key), ...cbor(item)])];
}

function number(value: number): Buffer {
  if (Number.isSafeInteger(value)) return value < 0 ? head(1, -1 - value) : head(0, value);
  const bytes = Buffer.alloc(9);
  bytes[0] = 0xfb;
  bytes.writeDoubleBE(value, 1);
  return bytes;
}

const withHead = (major: number, bytes: Buffer): Buffer[] => [head(major, bytes.length), bytes];

function head(major: number, length: number): Buffer {
  const type = major << 5;
  if (length < 24) return Buffer.from([type | length]);
  if (length < 0x100) return Buffer.from([type | 24, length]);
  const bytes = Buffer.alloc(length < 0x10000 ? 3 : length < 0x100000000 ? 5 : 9);
  if (bytes.length === 3) bytes.writeUInt16BE(length, 1);
  else if (bytes.length === 5) bytes.writeUInt32BE(length, 1);
  else bytes.writeBigUInt64BE(BigInt(length), 1);
  bytes[0] = type | (bytes.length === 3 ? 25 : bytes.length === 5 ? 26 : 27);
  return bytes;
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
