import type { LogLine } from './provider.ts';

/** Of a longer line only so many characters are kept. */
export const lineCut = 64 * 1024;

/**
 * So many bytes of a line are read. What lies between this and `lineCut` is only there so that a secret across the cut is
 * whole when it is masked.
 */
export const lineKept = 2 * lineCut;

/**
 * The text of a line in bearable length, with a remark when it was longer. Call it on what is masked already: a secret
 * that is cut in two could not be found any more.
 */
export function cutLine({ text, bytes }: Pick<LogLine, 'text' | 'bytes'>): string {
  if (bytes === undefined || (text.length <= lineCut && bytes <= lineKept)) return text;
  const kept = text.slice(0, lineCut);
  // Half an SGR code, or half a character.
  const code = kept.lastIndexOf('\x1b');
  const whole = code < 0 || kept.includes('m', code) ? kept.replace(/[\ud800-\udbff]$/, '') : kept.slice(0, code);
  const reset = whole.includes('\x1b') ? '\x1b[0m' : '';
  return `${whole}${reset}… [line of ${bytes} bytes cut]`;
}
