import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parentPort, workerData } from 'node:worker_threads';
import { runPart } from './batch.ts';
import { type Finding, wordsOf } from './finding.ts';
import { prototypes } from './prototypes.ts';
import type { Target } from './target.ts';
import type { Job, Message, Shared } from './thread.ts';

/*
 * Runs parts of pure targets, one after the other. What is fed stands in shared memory, so that the thread that watches
 * can name it when a call never comes back.
 */

interface Given {
  jobs: Job[];
  shared: Shared;
  known: string[];
  targets: string;
}

const { jobs, shared, known, targets } = workerData as Given;
const { pureTargets } = (await import(targets)) as { pureTargets: readonly Target[] };
const state = new Int32Array(shared, 0, 4);
const room = new Uint8Array(shared, 16);
const port = parentPort;
if (!port) throw new Error('this file is the worker of a fuzz run; start fuzz/main.ts');
const tell = (message: Message): void => port.postMessage(message);

let current: Job | undefined;
process.on('unhandledRejection', (error) => {
  const what = `unhandled rejection: ${wordsOf(error)}`;
  const input = Buffer.from(room.subarray(0, Atomics.load(state, 1)));
  const finding = {
    target: current?.target ?? '',
    seed: current?.seed ?? 0,
    what,
    signature: what.slice(0, 200),
    input,
  };
  tell({ kind: 'finding', finding });
});

const watch = {
  begin(input: Buffer): void {
    room.set(input.subarray(0, room.length));
    Atomics.store(state, 1, Math.min(input.length, room.length));
    Atomics.add(state, 0, 1);
    Atomics.store(state, 2, 1);
  },
  end: (): void => void Atomics.store(state, 2, 0),
};

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
/** What is held after everything that can go is gone, in bytes. */
const held = (): number => {
  collect();
  return process.memoryUsage().heapUsed;
};

const signatures = new Set(known);
for (const job of jobs) {
  current = job;
  const target = pureTargets.find(({ name }) => name === job.target);
  if (!target) throw new Error(`there is no target ${job.target}`);
  const { runs, findings } = await runPart({ ...job, target, watch, known: signatures });
  prototypes.checkAll();
  for (const finding of findings) tell({ kind: 'finding', finding: plain(finding) });
  tell({ kind: 'done', job, runs, ...(job.measure ? { held: held() } : {}) });
}
tell({ kind: 'over' });

/** A part of a pool would be sent with all of the pool. */
function plain(finding: Finding): Finding {
  return { ...finding, input: Buffer.from(finding.input) };
}
