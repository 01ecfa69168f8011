/** Calls `found` with the number of each needle that stands in the text, and with its place. */
export type Matcher = (text: Uint8Array, found: (needle: number, at: number) => void) => void;

/**
 * Finds any of many needles in one pass over a text (Wu and Manber): a table over pairs of bytes says how far the next
 * needle can be at the least, so most of the text is never looked at.
 */
export function matcher(needles: readonly Uint8Array[]): Matcher {
  const shortest = Math.min(255, ...needles.map(({ length }) => length));
  if (needles.length === 0 || shortest < 2) return () => {};
  const shifts = new Uint8Array(0x10000).fill(shortest - 1);
  const ends = new Map<number, number[]>();
  for (const [n, needle] of needles.entries()) {
    for (let at = 1; at < shortest; at += 1) {
      const pair = pairAt(needle, at);
      shifts[pair] = Math.min(shifts[pair] ?? 0, shortest - 1 - at);
    }
    const last = pairAt(needle, shortest - 1);
    ends.set(last, [...(ends.get(last) ?? []), n]);
  }

  return (text, found) => {
    let at = shortest - 1;
    while (at < text.length) {
      const pair = pairAt(text, at);
      const shift = shifts[pair] ?? 1;
      if (shift > 0) {
        at += shift;
        continue;
      }
      const from = at - shortest + 1;
      for (const n of ends.get(pair) ?? []) if (stands(text, from, needles[n] ?? text)) found(n, from);
      at += 1;
    }
  };
}

/** The byte at a place and the one before it. */
const pairAt = (bytes: Uint8Array, at: number): number => ((bytes[at - 1] ?? 0) << 8) | (bytes[at] ?? 0);

function stands(text: Uint8Array, from: number, needle: Uint8Array): boolean {
  if (from + needle.length > text.length) return false;
  for (let n = 0; n < needle.length; n += 1) if (text[from + n] !== needle[n]) return false;
  return true;
}
