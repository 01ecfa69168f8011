import path from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Finding } from './finding.ts';

/** Some runs of one target. */
export interface Job {
  target: string;
  seed: number;
  part: number;
  runs: number;
  /** Say what the heap holds afterwards. */
  measure?: boolean;
}

export type Message =
  | { kind: 'finding'; finding: Finding }
  | { kind: 'done'; job: Job; runs: number; held?: number }
  | { kind: 'over' };

/** A count of inputs, the length of the present one, whether it is being fed, and from the 16th byte on the input. */
export type Shared = SharedArrayBuffer;

export interface ThreadOptions {
  jobs: readonly Job[];
  onFinding(finding: Finding): void | Promise<void>;
  onDone(job: Job, runs: number, held: number | undefined): void;
  /** A call that takes so much of a processor never ends, ms; nor does one that lasts twenty times as long. Default 10 s. */
  hangMs?: number;
  signal?: AbortSignal;
  /** A module that exports `pureTargets`; default ours. */
  targets?: URL;
}

const room = 4 * 1024 * 1024;
const lookEvery = 250;
const ourTargets = new URL('targets/index.ts', import.meta.url);

/**
 * Runs jobs in a thread of their own, in which a call that never ends can be ended all the same: it is a finding, and
 * the rest goes on in a new thread.
 */
export async function runJobs(options: ThreadOptions): Promise<void> {
  let left = [...options.jobs];
  const known = new Set<string>();
  while (left.length > 0 && !options.signal?.aborted) left = await runUntilHang(left, known, options);
}

/** What this process has used of processors, ms: nearly all of it is the other thread's. */
function usedMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Gives the jobs that are left: none, or those after the one that hung. */
function runUntilHang(jobs: Job[], known: Set<string>, options: ThreadOptions): Promise<Job[]> {
  const { onFinding, onDone, hangMs = 10_000, signal, targets = ourTargets } = options;
  const shared: Shared = new SharedArrayBuffer(room);
  const state = new Int32Array(shared, 0, 4);
  const worker = new Worker(path.join(import.meta.dirname, 'worker.ts'), {
    workerData: { jobs, shared, known: [...known], targets: targets.href },
  });
  return new Promise((resolve, reject) => {
    let done = 0;
    let seen = -1;
    let since = { at: performance.now(), used: usedMs() };
    const finish = (left: Job[]): void => {
      clearInterval(timer);
      signal?.removeEventListener('abort', stop);
      worker.terminate().then(() => resolve(left), reject);
    };
    const stop = (): void => finish([]);
    const timer = setInterval(() => {
      const count = Atomics.load(state, 0);
      const busy = Atomics.load(state, 2) === 1;
      if (count !== seen || !busy) {
        seen = count;
        since = { at: performance.now(), used: usedMs() };
        return;
      }
      if (usedMs() - since.used < hangMs && performance.now() - since.at < 20 * hangMs) return;
      const job = jobs[done];
      const input = Buffer.from(new Uint8Array(shared, 16, Atomics.load(state, 1)));
      const what = `hang: one call did not end within ${hangMs / 1000} s`;
      if (job) {
        void onFinding({ target: job.target, seed: job.seed, what, signature: `hang ${job.target}`, input });
        onDone(job, 0, undefined);
      }
      finish(jobs.slice(done + 1));
    }, lookEvery);
    worker.on('message', (message: Message) => {
      if (message.kind === 'over') return finish([]);
      if (message.kind === 'done') {
        done += 1;
        return onDone(message.job, message.runs, message.held);
      }
      known.add(message.finding.signature);
      void onFinding({ ...message.finding, input: Buffer.from(message.finding.input) });
    });
    worker.on('error', (error) => {
      clearInterval(timer);
      signal?.removeEventListener('abort', stop);
      reject(error);
    });
    signal?.addEventListener('abort', stop, { once: true });
  });
}
