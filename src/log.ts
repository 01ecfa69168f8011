import pino, { type Logger } from 'pino';

export type { Logger } from 'pino';

export interface LogOptions {
  level: string;
  /** `auto`: pretty on a terminal, JSON lines elsewhere. */
  format: 'auto' | 'json' | 'pretty';
}

/** The process's log, on standard error, so that standard output is free for what a command prints. */
export function createLogger({ level, format }: LogOptions): Logger {
  const pretty = format === 'pretty' || (format === 'auto' && process.stderr.isTTY);
  const options = { level, base: null, hooks: { streamWrite: pretty ? visibleLine : escapedLine } };
  if (!pretty) return pino(options, pino.destination(2));
  return pino(options, pino.transport({ target: 'pino-pretty', options: { destination: 2, ignore: 'pid,hostname' } }));
}

/** What acts upon a terminal, or is not seen at all (as in `pipeline/inert.ts`, which nothing here may know). */
const unseen = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** A line of JSON in which nothing acts upon a terminal that shows it; the data stays as it is. */
export const escapedLine = (line: string): string =>
  line.replaceAll(unseen, (character, at: number) =>
    character === '\n' && at === line.length - 1 ? character : character.split('').map(escapeOf).join(''),
  );

const escapeOf = (unit: string): string => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** The same for what shows the data and not the JSON: escapes become words. Line ends stay, for stacks have them. */
export const visibleLine = (line: string): string =>
  escapedLine(line).replaceAll(/\\(?:u([0-9a-f]{4})|.)/g, (escape, code?: string) =>
    escape === '\\r' || (code !== undefined && isUnseen(code)) ? `\\${escape}` : escape,
  );

/** Halves of a character that needs two are not seen one by one. */
const isUnseen = (code: string): boolean =>
  /^d[89a-f]/.test(code) || String.fromCharCode(Number.parseInt(code, 16)).replace(unseen, '') === '';
