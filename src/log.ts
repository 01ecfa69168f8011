import { createRequire } from 'node:module';
import pino, { type DestinationStream, type Logger, type LoggerOptions } from 'pino';
import { hideSecrets } from './log-hide.ts';
import { seldom, type SeldomOptions } from './log-seldom.ts';

export type { Logger } from 'pino';

export interface LogOptions {
  level: string;
  /** `auto`: pretty on a terminal, JSON lines elsewhere. */
  format: 'auto' | 'json' | 'pretty';
  /** Hides secrets that we know of; what looks like one is hidden in any case. */
  mask?: ((text: string) => string) | undefined;
  /** How often the same warning is written. */
  seldom?: SeldomOptions;
  /** Where JSON lines go; default standard error. */
  to?: DestinationStream;
}

/**
 * The process's log, on standard error, so that standard output is free for what a command prints. No line holds a secret,
 * and a warning that is repeated is written now and then, with a count.
 */
export function createLogger({ level, format, mask = (text) => text, to, ...options }: LogOptions): Logger {
  const pretty = to === undefined && isPretty(format);
  const visible = pretty ? visibleLine : escapedLine;
  const rarely = seldom(options.seldom);
  const { warn = 40, fatal = 60 } = pino.levels.values;
  const settings: LoggerOptions = {
    level,
    base: null,
    hooks: {
      streamWrite: (line) => visible(hideSecrets(mask(line))),
      logMethod(args, method, at) {
        const write = (some: unknown[]): void => method.apply(this, some as typeof args);
        if (at < warn || at >= fatal) return write(args);
        if (!rarely(args as [unknown, ...unknown[]], write)) this.debug(...args);
      },
    },
  };
  if (!pretty) return pino(settings, to ?? pino.destination(2));
  return pino(settings, pino.transport({ target: 'pino-pretty', options: { destination: 2, ignore: 'pid,hostname' } }));
}

/** What makes lines pretty is for people who try Whorl out, and need not be installed. */
function isPretty(format: LogOptions['format']): boolean {
  if (format === 'json' || (format === 'auto' && !process.stderr.isTTY)) return false;
  try {
    createRequire(import.meta.url).resolve('pino-pretty');
    return true;
  } catch {
    return false;
  }
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
