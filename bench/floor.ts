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
  const firsts = new Set<string>();
  const result: Round = { starts: [], signals: [] };
  const runs: Promise<unknown>[] = [];

  const say = async (id: string, text: string): Promise<void> => {
    signalled.set(`${id} ${text}`, now());
    await client.workflow.getHandle(id).signal('word', text);
  };
  // As a CI does: the life of each build begins when it is created.
  const created = ({ id, what, at }: FloorEvent): void => {
    if (!firsts.has(id)) result.starts.push(at - (started.get(id) ?? Number.NaN));
    firsts.add(id);
    runs.push(say(id, `${what} scheduled`));
    runs.push(load.after(load.paceMs, () => say(id, `${what} running`)));
    runs.push(load.after(2 * load.paceMs, () => say(id, `${what} finished`)));
  };
  const heard = (event: FloorEvent): void => {
    if (!started.has(event.id)) return;
    if (event.kind === 'create') return created(event);
    const sent = signalled.get(`${event.id} ${event.what}`);
    if (sent !== undefined) result.signals.push(event.at - sent);
  };
  child.on('message', heard);
  await load.each(async (n) => {
    const id = `floor-${process.pid}-${now()}-${n}`;
    const input: FloorInput = { id, jobs: load.jobs, words: load.jobs * 3, resendMs: load.resendMs };
    started.set(id, now());
    const handle = await client.workflow.start('floor', { taskQueue, workflowId: id, args: [input] });
    runs.push(handle.result());
  });
  await Promise.all(runs);
  child.off('message', heard);
  return result;
}
