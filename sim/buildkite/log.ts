import type { Job } from './types.ts';

/** What an agent has uploaded of a job's output: raw bytes, with its time marks, colours and line ends. */
export interface JobLog {
  append(data: string | Uint8Array): void;
  /** Writes a line as the agent does, with its time before it. `pty`: as a command's output, which ends in CR CR LF. */
  line(at: number, text: string, pty?: boolean): void;
  /** The same when its time comes. */
  later(at: number, text: string): void;
  /** Writes at once what was to come later, with a time of now at most. */
  flush(now: number): void;
  /** All that is there by now. */
  bytes(now: number): Buffer;
  replace(data: string | Uint8Array): void;
}

const logs = new WeakMap<Job, JobLog>();

/** The log of a job; it is not part of the job, since snapshots are made of those. */
export function logOf(job: Job): JobLog {
  const known = logs.get(job);
  if (known) return known;
  const made = createLog();
  logs.set(job, made);
  return made;
}

function createLog(): JobLog {
  let pieces: Buffer[] = [];
  let coming: { at: number; text: string }[] = [];
  const log: JobLog = {
    append: (data) => void pieces.push(Buffer.from(data)),
    line: (at, text, pty = false) => log.append(`\x1b_bk;t=${at}\x07${text}${pty ? '\r\r\n' : '\r\n'}`),
    later: (at, text) => void coming.push({ at, text }),
    flush(now) {
      for (const { at, text } of coming) log.line(Math.min(at, now), text, true);
      coming = [];
    },
    bytes(now) {
      const due = coming.filter(({ at }) => at <= now);
      if (due.length > 0) {
        coming = coming.filter(({ at }) => at > now);
        for (const { at, text } of due) log.line(at, text, true);
      }
      const whole = pieces.length === 1 && pieces[0] ? pieces[0] : Buffer.concat(pieces);
      pieces = [whole];
      return whole;
    },
    replace(data) {
      pieces = [Buffer.from(data)];
      coming = [];
    },
  };
  return log;
}
