import { logLine, stepEnd, stepStart } from '../forges/tangled/log.ts';
import type { LogState } from '../store/log-reader.ts';

/** What a reader is told of a log that has nothing to show. */
export interface Remark {
  /** The name of the one step that it is shown as. */
  name: string;
  text: string;
  at: Date;
}

/**
 * What to say in place of a log that is over: when it was taken away because of its age, or has nothing in it.
 * Undefined when it speaks for itself.
 */
export function remarkOf({ over, entries, removedAt, status, error, shownAt }: LogState): Remark | undefined {
  if (removedAt) {
    const day = removedAt.toISOString().slice(0, 10);
    return { name: 'Log', text: `This log was removed on ${day}: logs are kept for a limited time.`, at: removedAt };
  }
  if (!over || entries > 0) return undefined;
  const at = shownAt ?? new Date(0);
  if (error) return { name: 'Reason', text: error, at };
  return { name: 'Log', text: `There is no log${status ? `: this job ended as ${status} without one` : ''}.`, at };
}

/** The remark as entries of `/logs`, a JSON line each. `step` must be an id that no step of the log has. */
export function remarkEntries({ name, text, at: time }: Remark, step: number): Buffer {
  const at = time.getTime();
  const about = { step, name, at };
  const lines = text.split(/\r?\n|\r/).map((line) => logLine({ step, text: line, at }));
  return Buffer.from([stepStart(about), ...lines, stepEnd(about)].join('\n'));
}
