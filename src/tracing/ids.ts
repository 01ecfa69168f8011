import { createHash, randomBytes } from 'node:crypto';

const hash = (text: string, digits: number): string => createHash('sha256').update(text).digest('hex').slice(0, digits);

/**
 * The trace of a pipeline's run: the same in every process and after every restart, with nothing carried from one to
 * the next. Each time that a pipeline is opened again is a trace of its own.
 */
export const traceIdOf = (pipeline: string, epoch: number): string => hash(`whorl trace ${pipeline} ${epoch}`, 32);

/** A span of that trace that there is once, such as its root. */
export const spanIdOf = (pipeline: string, epoch: number, name: string): string =>
  hash(`whorl span ${pipeline} ${epoch} ${name}`, 16);

export const freshSpanId = (): string => randomBytes(8).toString('hex');
