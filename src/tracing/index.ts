import { AsyncLocalStorage } from 'node:async_hooks';
import { freshSpanId } from './ids.ts';

/** What a span may say of itself. Traces are for operators: they may name repositories, and hold no secrets. */
export type Said = Record<string, string | number | boolean>;

/** Something that took its time, for one pipeline. */
export interface SpanRecord {
  pipeline: string;
  /** Which run of the pipeline. Unset: the present one. */
  epoch?: number | undefined;
  /** Temporal's name for it, where that is known: whose epoch never changes. */
  run?: string | undefined;
  name: string;
  kind?: 'internal' | 'client' | 'consumer' | 'producer' | undefined;
  /** Ms since 1970. */
  start: number;
  end: number;
  said?: Said | undefined;
  /** Why it failed. */
  error?: string | undefined;
  /** `root`: the span that all others of the trace are under. `once`: there is one of this name. */
  is?: 'root' | 'once' | undefined;
  id?: string | undefined;
  /** Id of the span that it is a part of. Unset: the root. */
  parent?: string | undefined;
}

export type Sink = (span: SpanRecord) => void;

let sink: Sink | undefined;

/** Where spans go; undefined: nowhere, and nothing is made. */
export function traceTo(to: Sink | undefined): void {
  sink = to;
}

export const isTracing = (): boolean => sink !== undefined;

/** Ms since 1970, finer than `Date.now()`. */
export const traceNow = (): number => performance.timeOrigin + performance.now();

/** The span that is under way. */
type Around = Pick<SpanRecord, 'epoch' | 'run'> & { pipeline: string; id: string };

const current = new AsyncLocalStorage<Around>();

/** Tells of something that is over. Outside of `traced` it needs its pipeline. Never fails. */
export function recordSpan(span: Omit<SpanRecord, 'pipeline'> & { pipeline?: string }): void {
  if (!sink) return;
  const around = current.getStore();
  const pipeline = span.pipeline ?? around?.pipeline;
  if (pipeline === undefined) return;
  const under = around?.pipeline === pipeline && span.is === undefined ? around : undefined;
  sink({ epoch: under?.epoch, run: under?.run, parent: under?.id, ...span, pipeline });
}

const nothing = (): void => {};

export interface Traced {
  /** Unset: that of the span which is under way. Without one, nothing is told. */
  pipeline?: string | undefined;
  epoch?: number | undefined;
  run?: string | undefined;
  name: string;
  kind?: SpanRecord['kind'];
  said?: Said;
}

/** Does the work, and tells how long it took; what it calls is a part of it. `say` adds to what the span says. */
export async function traced<T>(
  { said, ...about }: Traced,
  work: (say: (more: Said) => void) => Promise<T>,
): Promise<T> {
  if (!sink) return work(nothing);
  const around = current.getStore();
  const pipeline = about.pipeline ?? around?.pipeline;
  if (pipeline === undefined) return work(nothing);
  const under = around?.pipeline === pipeline ? around : undefined;
  const epoch = about.epoch ?? under?.epoch;
  const run = about.run ?? under?.run;
  const id = freshSpanId();
  const all = { ...said };
  const start = traceNow();
  const end = (error?: string): void =>
    sink?.({ ...about, pipeline, epoch, run, id, parent: under?.id, start, end: traceNow(), said: all, error });
  try {
    const result = await current.run({ pipeline, epoch, run, id }, () => work((more) => Object.assign(all, more)));
    end();
    return result;
  } catch (error) {
    end(error instanceof Error ? error.message : String(error));
    throw error;
  }
}
