import { afterAll, beforeAll, expect, test } from 'vitest';
import type { PipelineId } from '../../src/pipeline/ids.ts';
import { insertCommand } from '../../src/store/commands.ts';
import { keepAnswered } from '../../src/store/restore.ts';
import { settleCommand } from '../../src/store/work.ts';
import { plannedPipeline, told } from '../support/cli.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';

let db: FreshDatabase;
beforeAll(async () => void (db = await freshDatabase()));
afterAll(() => db.drop());

let asked = 0;
/** A command that was carried out and answered; no step of it left a trace. */
async function answered(
  pipeline: PipelineId,
  kind: 'cancel' | 'rerun',
  result: string,
  { job, state = 'done' }: { job?: string; state?: 'done' | 'refused' } = {},
): Promise<void> {
  asked += 1;
  await insertCommand(db.sql, { id: `command-${asked}`, pipeline, kind, by: 'test', job });
  await settleCommand(db.sql, `command-${asked}`, state, result);
}

/** The attempts after a restore, and after one that died and was run again. */
async function kept(pipeline: PipelineId): Promise<string[]> {
  const read = () => db.sql<{ job: string; attempt: number; stopped: boolean }[]>`
    select job, attempt, cancel_asked_at is not null as stopped from attempts where pipeline = ${pipeline} order by job, attempt`;
  await keepAnswered(db.sql);
  const once = await read();
  await keepAnswered(db.sql);
  expect([...(await read())]).toEqual([...once]);
  return once.map(({ job, attempt, stopped }) => `${job} ${attempt}${stopped ? ' stopped' : ''}`);
}

test('a rerun gives out the attempts that its answer names, and a cancel after it stops its own job', async () => {
  const pipeline = await plannedPipeline(db.sql, { jobs: ['a.yml', 'b.yml', 'c.yml'] });
  for (const job of ['a.yml', 'b.yml']) await told(db.sql, pipeline, { job, status: 'failed' });
  await answered(pipeline, 'rerun', 'a.yml: attempt 2, b.yml: attempt 2');
  await answered(pipeline, 'cancel', 'Cancelling a.yml.', { job: 'a.yml' });
  expect(await kept(pipeline)).toEqual(['a.yml 1', 'a.yml 2 stopped', 'b.yml 1', 'b.yml 2', 'c.yml 1']);
});

test('a cancel before a rerun does not stop its attempt, and one that was refused stops nothing', async () => {
  const pipeline = await plannedPipeline(db.sql);
  await answered(pipeline, 'cancel', 'Cancelling ci.yml.');
  await told(db.sql, pipeline, { status: 'cancelled' });
  await answered(pipeline, 'rerun', 'ci.yml: attempt 2');
  await answered(pipeline, 'cancel', 'It has already ended.', { state: 'refused' });
  expect(await kept(pipeline)).toEqual(['ci.yml 1', 'ci.yml 2']);
});

test('files whose names look like answers give out nothing, and stop no restore', async () => {
  const jobs = ['a', 'a: attempt x.yml', 'a: attempt 99999999999'];
  const pipeline = await plannedPipeline(db.sql, { jobs });
  await answered(pipeline, 'rerun', 'a: attempt x.yml: attempt 2');
  await answered(pipeline, 'rerun', 'a: attempt 99999999999: attempt 2');
  expect(await kept(pipeline)).toEqual([
    'a 1',
    'a: attempt 99999999999 1',
    'a: attempt 99999999999 2',
    'a: attempt x.yml 1',
    'a: attempt x.yml 2',
  ]);
});
