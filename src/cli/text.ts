import { unseen } from '../pipeline/inert.ts';

/**
 * Text from outside, safe for a terminal: on one line, and nothing in it moves the cursor, colours, or turns the rest
 * of the line around.
 */
export const plain = (text: string): string =>
  text
    .replace(/[\t\n\v\f\r\u0085\u2028\u2029]+/g, ' ')
    .replace(unseen, '\u{fffd}')
    .toWellFormed();

/** Text from outside that may be long, on one line already, and keeps its tabs: nothing in it acts upon a terminal. */
export const harmless = (text: string): string =>
  text.replace(unseen, (character) => (character === '\t' ? character : '\u{fffd}')).toWellFormed();

/** JSON for people and programs alike: what a terminal would act upon is escaped, so the data stays as it is. */
export const json = (data: unknown, indent = 2): string =>
  JSON.stringify(data, undefined, indent).replace(unseen, (character) =>
    character === '\n' ? character : character.split('').map(escaped).join(''),
  );

const escaped = (unit: string): string => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** A sentence that goes on: without full stops and space at its end. A regular expression would look from each of them. */
export function unfinished(sentence: string): string {
  let end = sentence.length;
  while (end > 0 && /[.\s]/.test(sentence.charAt(end - 1))) end--;
  return sentence.slice(0, end);
}

/** Columns as wide as what is in them. The cells are made safe here. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const cells = rows.map((row) => row.map(plain));
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  return cells.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** To the second, in UTC, whatever the time zone of whoever looks. */
export const time = (date: Date): string => date.toISOString().replace('T', ' ').replace(/\..*/, 'Z');
