/** 32 bits out of words and numbers: the seed of what they name. FNV-1a, and a mix that spreads its last bits. */
export function seedOf(...parts: readonly (string | number)[]): number {
  let hash = 0x811c9dc5;
  for (const char of parts.join('\0')) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Numbers below a limit, the same ones for the same seed. Marsaglia's xorshift: quick, and good enough for noise. */
export function xorshift(seed: number): (below: number) => number {
  let state = seed >>> 0 || 0x9e3779b9;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

/** Bytes of noise, the same ones for the same seed. */
export function noise(seed: number, length: number): Buffer {
  const next = xorshift(seed);
  return Buffer.from(Array.from({ length }, () => next(256)));
}
