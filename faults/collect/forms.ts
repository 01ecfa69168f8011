/**
 * What a secret looks like where it was written down: as it is, escaped for JSON (once and twice), percent-encoded, in
 * hex, and in base64, also in the middle of longer base64.
 */
export function formsOf(secret: string): Buffer[] {
  const bytes = Buffer.from(secret);
  const once = escaped(secret);
  const hex = bytes.toString('hex');
  const texts = [
    secret,
    once,
    escaped(once),
    encodeURIComponent(secret),
    encodeURIComponent(secret).replaceAll(/%../g, (code) => code.toLowerCase()),
    new URLSearchParams({ s: secret }).toString().slice(2),
    [...bytes].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join(''),
    [...bytes].map((byte) => `%${byte.toString(16).padStart(2, '0').toUpperCase()}`).join(''),
    hex,
    hex.toUpperCase(),
    ...[0, 1, 2].flatMap((before) => base64Of(bytes, before)),
  ];
  return [...new Set(texts)].map((text) => Buffer.from(text));
}

const escaped = (text: string): string => JSON.stringify(text).slice(1, -1);

/** The characters of base64 that depend on these bytes alone, when so many others stand before them. */
function base64Of(bytes: Buffer, before: number): string[] {
  const text = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64');
  const inner = text.slice(Math.ceil((before * 8) / 6), Math.floor(((before + bytes.length) * 8) / 6));
  return [inner, inner.replaceAll('+', '-').replaceAll('/', '_')];
}
