import fc from 'fast-check';
import { noise } from '../random.ts';

/** One change of some bytes: what, where, how much, and a number to choose by. */
type Change = [kind: number, at: number, size: number, choice: number];

export interface ByteOptions {
  /** What means something to the parser: it is put in, alone and many times over. */
  words?: readonly (string | Uint8Array)[];
  /** Inputs are cut here. Default 64 KiB. */
  most?: number;
}

const kinds = 11;

/** How large a change is: mostly small, now and then as large as may be. */
const sizeOf = (size: number, most: number): number => {
  const scale = size % 512;
  if (scale === 0) return most;
  if (scale < 8) return 1 + (size % 4096);
  return 1 + (size % 12);
};

/** Real inputs with a few bytes changed: flipped, set, put in, taken out, doubled, moved, cut off, joined with others. */
export function changedBytes(
  corpus: readonly Uint8Array[],
  { words = [], most = 64 * 1024 }: ByteOptions = {},
): fc.Arbitrary<Buffer> {
  const change = fc.tuple(fc.nat(kinds - 1), fc.nat(), fc.nat(), fc.nat());
  const dictionary = words.map((word) => Buffer.from(word));
  const bases = corpus.map((each) => Buffer.from(each));
  return fc
    .tuple(fc.nat({ max: bases.length - 1 }), fc.array(change, { maxLength: 6, size: 'max' }))
    .map(([base, changes]) => {
      let bytes: Buffer = bases[base] ?? Buffer.alloc(0);
      for (const each of changes) bytes = changed(bytes, each, { bases, dictionary, most });
      return bytes.subarray(0, most);
    });
}

interface Sources {
  bases: readonly Buffer[];
  dictionary: readonly Buffer[];
  most: number;
}

function changed(bytes: Buffer, [kind, where, size, choice]: Change, { bases, dictionary, most }: Sources): Buffer {
  const at = where % (bytes.length + 1);
  const length = sizeOf(size, most);
  const before = bytes.subarray(0, at);
  const after = bytes.subarray(at);
  const put = (...what: Uint8Array[]): Buffer => Buffer.concat([before, ...what, after]);
  const word = dictionary.length > 0 ? dictionary[choice % dictionary.length] : undefined;
  switch (kind) {
    case 0: {
      const copy = Buffer.from(bytes);
      if (at < copy.length) copy[at] = (copy[at] ?? 0) ^ (1 << (choice % 8));
      return copy;
    }
    case 1: {
      const copy = Buffer.from(bytes);
      if (at < copy.length) copy[at] = choice;
      return copy;
    }
    case 2:
      return put(noise(choice, Math.min(length, 4096)));
    case 3:
      return Buffer.concat([before, after.subarray(length)]);
    case 4:
      return put(after.subarray(0, length), after.subarray(0, length));
    case 5: {
      const from = choice % (bytes.length + 1);
      return put(bytes.subarray(from, from + length));
    }
    case 6:
      return before;
    case 7: {
      const other = bases[choice % bases.length] ?? bytes;
      return Buffer.concat([before, other.subarray(size % (other.length + 1))]);
    }
    case 8:
    case 9:
      return word ? put(word) : put(Buffer.from([choice]));
    default: {
      const one = word && word.length > 0 ? word : Buffer.from([choice]);
      return put(Buffer.alloc(Math.min(length * one.length, most), one));
    }
  }
}
