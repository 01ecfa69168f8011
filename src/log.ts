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
  const options = { level, base: null };
  if (!pretty) return pino(options, pino.destination(2));
  return pino(options, pino.transport({ target: 'pino-pretty', options: { destination: 2, ignore: 'pid,hostname' } }));
}
