import { inject, type TestContext } from 'vitest';
import { restore, type Restored } from '../../src/cli/restore-run.ts';
import { restoreTemporal } from '../../src/cli/restore-temporal.ts';
import type { Role } from '../../src/roles/role.ts';
import { inUse } from '../../src/store/restore.ts';
import { type Backup, putBack } from '../../faults/backup.ts';
import { buildOf, isBound, ownSpindle } from './pipelines.ts';
import { buildkiteFile, type Pushed, type Spindle, type SpindleOptions } from './spindle.ts';
import { until } from './until.ts';

export const oneFile = { 'ci.yml': buildkiteFile() };

/** A spindle whose database can be lost. */
export async function mortal(context: TestContext, options: SpindleOptions = {}) {
  const whorl = await ownSpindle(context, { ...options, roles: ['server'], appview: { reopenings: true } });
  let roles: Role[] = [];
  const begin = async (): Promise<void> => {
    roles = [await whorl.start('worker'), await whorl.start('ingest')];
    await whorl.knot.connected(1);
  };
  const end = async (): Promise<void> => {
    await Promise.all(roles.map((role) => role.stop()));
  };
  await begin();
  return { whorl, begin, end };
}

/** Runs `whorl restore` as an operator would, but for the wait for workers that are gone. */
export async function runRestore(whorl: Spindle, options: { lookBackMs?: number; dieAfter?: RegExp } = {}) {
  await until('the leases of the backup have run out', async () => (await inUse(whorl.sql)).leases === 0, 30_000);
  const env = { TEMPORAL_ADDRESS: inject('temporalAddress'), TEMPORAL_NAMESPACE: inject('temporalNamespace') };
  const temporal = restoreTemporal(env, whorl.config.taskQueue);
  try {
    return await restore({
      sql: whorl.sql,
      temporal,
      lookBackMs: options.lookBackMs ?? 0,
      quietMs: 0,
      agreed: async () => true,
      print: (line) => {
        if (options.dieAfter?.test(line)) throw new Error('killed');
      },
    });
  } finally {
    await temporal.close();
  }
}

/** The disaster: everybody stops, the backup takes the place of the database, and an operator runs the command. */
export async function disaster(whorl: Spindle, backup: Backup): Promise<Restored> {
  await putBack(whorl.sql, backup);
  const done = await runRestore(whorl);
  if (!done) throw new Error('nothing was restored');
  return done;
}

export async function toRunning(whorl: Spindle, pushed: Pushed): Promise<string> {
  const { id } = await buildOf(whorl, pushed);
  await isBound(pushed);
  whorl.ci.advance(id, 'running');
  await pushed.shows('ci.yml', 'running');
  return id;
}

export async function toEnd(whorl: Spindle, pushed: Pushed, result: 'passed' | 'failed'): Promise<string> {
  const id = await toRunning(whorl, pushed);
  whorl.ci.finish(id, result);
  await pushed.shows('ci.yml', result === 'passed' ? 'success' : 'failed');
  await pushed.ended();
  return id;
}

/** What the database says of a job: its attempt, its status, and the builds of its attempts. */
export async function stored(whorl: Spindle, pushed: Pushed) {
  const [job] = await whorl.sql<{ attempt: number; status: string | null; error: string | null }[]>`
    select attempt, status, error from jobs where pipeline = ${pushed.id}`;
  const attempts = await whorl.sql<{ attempt: number; build: string | null }[]>`
    select attempt, build from attempts where pipeline = ${pushed.id} order by attempt`;
  return { ...job, builds: attempts.map(({ build }) => build) };
}

export const says = (whorl: Spindle, pushed: Pushed, status: string) =>
  until(`${pushed.id} is stored as ${status}`, async () => (await stored(whorl, pushed)).status === status, 60_000);
