import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import type { FloorEvent, FloorInput } from './floor-worker.ts';
import { now } from './stats.ts';
import type { Load, Round } from './load.ts';

export interface Floor {
  round(load: Load): Promise<Round>;
  stop(): Promise<void>;
}

const taskQueue = 'floor';

/** The engine alone: a worker in a process of its own, and a client here that starts and signals no-op workflows. */
export async function startFloor(address: string): Promise<Floor> {
  const child = fork(fileURLToPath(new URL('./floor-worker.ts', import.meta.url)), [address, taskQueue]);
  await once(child, 'message');
  const connection = await Connection.connect({ address });
  const client = new Client({ connection });
  return {
    round: (load) => round(client, child, load),
    async stop() {
      child.disconnect();
      await connection.close();
    },
  };
}

async function round(client: Client, child: ChildProcess, load: Load): Promise<Round> {
  const started = new Map<string, number>();
  const signalled = new Map<string, number>();
  const firsts = new Map<string, number>();
  const result: Round = { starts: [], signals: [] };
  const heard = (event: FloorEvent): void => {
    const key = `${event.id} ${event.what}`;
    if (event.kind === 'create' && !firsts.has(event.id)) {
      firsts.set(event.id, event.at);
      result.starts.push(event.at - (started.get(event.id) ?? Number.NaN));
    }
    const sent = event.kind === 'publish' ? signalled.get(key) : undefined;
    if (sent !== undefined) result.signals.push(event.at - sent);
  };
  child.on('message', heard);
  const runs: Promise<unknown>[] = [];
  await load.each(async (n) => {
    const id = `floor-${process.pid}-${now()}-${n}`;
    const input: FloorInput = { id, jobs: load.jobs, words: load.jobs * 3, resendMs: load.resendMs };
    started.set(id, now());
    const handle = await client.workflow.start('floor', { taskQueue, workflowId: id, args: [input] });
    const say = async (job: number, what: string): Promise<void> => {
      const text = `${job} ${what}`;
      signalled.set(`${id} ${text}`, now());
      await handle.signal('word', text);
    };
    for (let job = 0; job < load.jobs; job += 1) {
      runs.push(
        say(job, 'scheduled'),
        load.after(load.paceMs, () => say(job, 'running')),
      );
      runs.push(load.after(2 * load.paceMs, () => say(job, 'finished')));
    }
    runs.push(handle.result());
  });
  await Promise.all(runs);
  child.off('message', heard);
  return result;
}
