import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import type { FloorEvent, FloorInput } from './floor-worker.ts';
import type { Load, Round } from './load.ts';
import { endWithUs } from './roles.ts';
import { now } from './stats.ts';

export interface Floor {
  client: Client;
  /** One workflow, from its start to its end, with the signals that a CI would cause. Its latencies go into the round. */
  run(load: Load, round: Round): Promise<{ id: string }>;
  stop(): Promise<void>;
}

const taskQueue = 'floor';

/** The engine alone: a worker in a process of its own, and a client here that starts and signals no-op workflows. */
export async function startFloor(address: string): Promise<Floor> {
  const worker = fileURLToPath(new URL('./floor-worker.ts', import.meta.url));
  const child = fork(worker, [address, taskQueue], {
    execArgv: ['--max-semi-space-size=8', '--max-old-space-size=256'],
  });
  endWithUs(child);
  await once(child, 'message');
  const connection = await Connection.connect({ address });
  const client = new Client({ connection });
  const listeners = new Map<string, (event: FloorEvent) => void>();
  child.on('message', (event: FloorEvent) => listeners.get(event.id)?.(event));
  let count = 0;

  return {
    client,
    async run(load, round) {
      const id = `floor-${process.pid}-${(count += 1)}`;
      const signalled = new Map<string, number>();
      const said: Promise<void>[] = [];
      const say = async (text: string): Promise<void> => {
        signalled.set(text, now());
        await client.workflow.getHandle(id).signal('word', text);
      };
      let isFirst = true;
      listeners.set(id, ({ kind, what, at }) => {
        if (kind === 'publish') {
          const sent = signalled.get(what);
          if (sent !== undefined) round.signals.push(at - sent);
          return;
        }
        if (isFirst) round.starts.push(at - startedAt);
        isFirst = false;
        // As a CI does: the life of each build begins when it is created.
        said.push(say(`${what} scheduled`));
        said.push(delay(load.paceMs).then(() => say(`${what} running`)));
        said.push(delay(2 * load.paceMs).then(() => say(`${what} finished`)));
      });
      const input: FloorInput = { id, jobs: load.jobs, words: load.jobs * 3, resendMs: load.resendMs };
      const startedAt = now();
      const handle = await client.workflow.start('floor', { taskQueue, workflowId: id, args: [input] });
      await handle.result();
      await Promise.all(said);
      listeners.delete(id);
      return { id };
    },
    async stop() {
      child.disconnect();
      await connection.close();
    },
  };
}
