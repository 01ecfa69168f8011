/**
 * What acts upon a terminal, breaks a line, turns what follows around, or is not seen at all. The two joiners are not
 * among it: scripts and emoji are written with them.
 */
export const unseen = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** Of the summary of a workflow, activity or timer; Temporal takes some more. */
export const summaryBytes = 200;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * Text from outside as words of a Markdown line: nothing in it becomes a link, a picture, HTML, a cell or a heading,
 * whether the reader knows plain Markdown or GitHub's, which makes links of bare addresses too.
 * @param most bytes of UTF-8, for Temporal refuses what is longer
 */
export function inMarkdown(text: string, most = 300): string {
  if (text.length <= most && isPlain(text)) return text;
  const line = text.toWellFormed().replaceAll(/\s+/g, ' ').replaceAll(unseen, '\ufffd').trim();
  let words = '';
  let bytes = 0;
  for (const { 0: piece, index } of line.matchAll(pieces)) {
    const [before, after] = [line[index - 1], line[index + 1]];
    // in a name it makes nothing slanted, and by itself no address
    const harmless = piece === '_' ? isLetter(before) && isLetter(after) : piece === '@' && after === ' ';
    const shown = harmless ? piece : escaped(piece, words === '');
    bytes += encoder.encode(shown).length;
    if (bytes > most) return words;
    words += shown;
  }
  return words;
}

/** Nearly all that we say ourselves is: words in which nothing could act, and which need no closer look. */
const isPlain = (text: string): boolean =>
  /^[a-z0-9](?:[a-z0-9,;:()/.'-]| (?! ))*$/i.test(text) && !/:\/\/|www\.|^\d+[.)]| $/i.test(text);

/** Pieces that are escaped or cut as one. A word of letters is cut between them. */
const pieces = /:\/\/|www\.|^\d+[.)]|./giu;

const isLetter = (character = ''): boolean => /[a-z0-9]/i.test(character);

/** Breaks what looks like an address, and is not seen. */
const joiner = '\u2060';

function escaped(piece: string, first: boolean): string {
  if (piece === '://') return `:${joiner}//`;
  if (/^www\.$/i.test(piece)) return `${piece.slice(0, -1)}${joiner}.`;
  if (piece === '@') return `@${joiner}`;
  if (/^\d+[.)]$/.test(piece)) return `${piece.slice(0, -1)}\\${piece.slice(-1)}`;
  if (/[\\`*_[\]<>|~&!]/.test(piece) || (first && /[-+=#]/.test(piece))) return `\\${piece}`;
  return piece;
}

/** At most so many bytes, without half a character at the end. */
export function cutBytes(text: string, most: number): string {
  const bytes = encoder.encode(text);
  return bytes.length <= most ? text : decoder.decode(bytes.subarray(0, most)).replace(/\ufffd$/, '');
}
