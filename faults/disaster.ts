import { setTimeout as delay } from 'node:timers/promises';
import { restore } from '../src/cli/restore-run.ts';
import { restoreTemporal } from '../src/cli/restore-temporal.ts';
import { inUse } from '../src/store/restore.ts';
import { backUp, putBack } from './backup.ts';
import type { Crew } from './crew.ts';
import type { DatabaseService, Engine } from './services.ts';

/** Of the tasks of pipelines: what Whorl takes unless it is told otherwise. */
const taskQueue = 'whorl';
/** What is away may stay away for so long, ms. */
const patienceMs = 15 * 60_000;
/** Pipelines that began so long before the backup are looked at too, ms. */
const lookBackMs = 60_000;

/**
 * Takes a backup. What it gives loses the database and brings it back as operators do: all processes stop, the backup is
 * put back, `whorl restore` is run to its end, and the processes start. It differs in two things: it does not wait until
 * no worker can be there any more, which it knows, and it goes on when what it needs is away, as a person would.
 */
export async function takeBackup(
  { database, engine, crew }: { database: DatabaseService; engine: Engine; crew: Crew },
  signal: AbortSignal,
): Promise<(dies: boolean) => Promise<void>> {
  const backup = await backUp(database.sql);
  return async (dies) => {
    await crew.rest();
    try {
      await patiently(signal, async () => {
        await database.evict();
        await putBack(database.sql, backup);
      });
      let mayDie = dies;
      await patiently(signal, async () => {
        const { leases } = await inUse(database.sql);
        if (leases > 0) throw new Error(`${leases} leases of the backup have not run out`);
        // It is left open: grpc-js throws where nobody can catch it when a connection is closed under a call.
        const env = { TEMPORAL_ADDRESS: engine.address, TEMPORAL_NAMESPACE: engine.namespace };
        await restore({
          sql: database.sql,
          temporal: restoreTemporal(env, taskQueue),
          lookBackMs,
          quietMs: 0,
          agreed: async () => true,
          print(line) {
            if (!mayDie || !line.startsWith('Workflows that ran')) return;
            mayDie = false;
            throw new Error('the restore dies here');
          },
        });
      });
    } finally {
      crew.wake();
    }
  };
}

/** Throws when the run is broken off: then nothing has to be right any more. */
async function patiently(signal: AbortSignal, act: () => Promise<void>): Promise<void> {
  const end = Date.now() + patienceMs;
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (signal.aborted || Date.now() > end) throw error;
      await delay(500);
    }
  }
}
