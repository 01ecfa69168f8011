import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { inject, onTestFinished } from 'vitest';
import type { Spindle } from './spindle.ts';

/** Where a worker dies: 1 is the start of this activity, n + 1 the end of its nth await. `resend` is a publish that only repeats. */
export interface Doom {
  activity: string;
  step: number;
}

/** What a doomed worker says. */
export type Said = { ready: true } | { killed: string } | { done: string; steps: number };

export interface DoomedWorker {
  ready: Promise<unknown>;
  /** Begins to work. `dooms`: by pipeline rkey. */
  go(dooms: Map<string, Doom>): void;
  /** Resolves with the pipeline on which it died, or undefined when it was ended from outside. */
  died: Promise<string | undefined>;
  /** The steps of every activity that it completed. */
  done: { done: string; steps: number }[];
  kill(): void;
}

/** A process that runs a spindle's activities, one at a time, until it meets its end. */
export function doomedWorker({ databaseUrl, config, ci }: Spindle): DoomedWorker {
  const child = spawn(process.execPath, [path.join(import.meta.dirname, 'doomed-worker.ts')], {
    env: {
      PATH: process.env['PATH'],
      DATABASE_URL: databaseUrl,
      TEMPORAL_ADDRESS: inject('temporalAddress'),
      NAMESPACE: inject('temporalNamespace'),
      TASK_QUEUE: config.taskQueue,
      API_URL: ci.apiUrl,
      TOKEN: ci.token,
    },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exit = once(child, 'exit');
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await exit;
  });
  const ready = Promise.withResolvers<void>();
  const done: DoomedWorker['done'] = [];
  let killed: string | undefined;
  const lines = createInterface({ input: child.stdout }).on('line', (line) => {
    const said = JSON.parse(line) as Said;
    if ('ready' in said) ready.resolve();
    else if ('killed' in said) killed = said.killed;
    else done.push(said);
  });
  const closed = once(lines, 'close');
  void exit.then(() => ready.reject(new Error('a doomed worker ended before it was ready')));
  ready.promise.catch(() => {});
  return {
    ready: ready.promise,
    go: (dooms) => void child.stdin.write(`${JSON.stringify([...dooms])}\n`),
    died: Promise.all([exit, closed]).then(() => killed),
    done,
    kill: () => void child.kill('SIGKILL'),
  };
}
