import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { PendingQuery as Query, Row } from 'postgres';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { lose, loseAnswer } from '../../sim/buildkite/index.ts';
import { summarise } from '../../faults/check/index.ts';
import type { Sources } from '../../faults/collect/gather.ts';
import { packEntries } from '../../src/store/log-chunks.ts';
import type { Evidence } from '../../faults/evidence.ts';
import { buildOf, isBound, isParked } from '../support/pipelines.ts';
import { boundTo, createOf, digested, newSha } from '../support/ci.ts';
import { buildkiteFile, type Pushed } from '../support/spindle.ts';
import { until } from '../support/until.ts';
import { breaks, planted, type Witness, witness } from '../support/witness.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

type PendingQuery = Query<Row[]>;

const build = { raw: buildkiteFile(), expect: 'build' } as const;
const lint = { raw: buildkiteFile('lint'), expect: 'build' } as const;
const fake = { raw: 'tack:\n  fake: {}\n', expect: 'fake' } as const;
const refused = { raw: 'steps: []', expect: 'refused' } as const;
const parks = { raw: buildkiteFile('made-later'), expect: 'parks' } as const;

/** Everything that a small day brings, carried to its end by hand. */
async function smallDay(seen: Witness) {
  const { whorl, push } = seen;
  const { ci } = whorl;
  const passes = async (pushed: Pushed, job = 'ci.yml', nth = 1): Promise<string> => {
    const { id } = await buildOf(whorl, pushed, job, nth);
    await until('it is bound', async () => (await whorl.sql`select from attempts where build = ${id}`).length === 1);
    ci.advance(id, 'running');
    await pushed.shows(job, 'running');
    ci.finish(id, 'passed');
    await pushed.shows(job, 'success');
    return id;
  };

  const three = push({ 'ci.yml': build, 'fake.yml': fake, 'wrong.yml': refused });
  const parked = push({ 'ci.yml': parks, 'lint.yml': lint });
  const unserved = push({ 'ci.yml': build }, false);
  const cancelled = push({ 'ci.yml': build });
  const again = push({ 'ci.yml': build });
  const retried = push({ 'ci.yml': build });
  const rebuilt = push({ 'ci.yml': build });
  const late = push({ 'ci.yml': build });
  const blocked = push({ 'ci.yml': build });

  await passes(three);
  await passes(parked, 'lint.yml');
  await isParked(parked);

  const stopped = await buildOf(whorl, cancelled);
  ci.advance(stopped.id, 'running');
  await isBound(cancelled);
  await whorl.command('cancel', cancelled.id);
  await until('the CI was asked', () => ci.build(stopped.id).state === 'canceling');
  ci.finish(stopped.id, 'canceled');

  const first = await buildOf(whorl, again);
  await isBound(again);
  ci.finish(first.id, 'failed');
  await again.shows('ci.yml', 'failed');
  await whorl.command('rerun', again.id);
  await passes(again, 'ci.yml', 2);

  const flaky = await buildOf(whorl, retried);
  await isBound(retried);
  ci.finish(flaky.id, 'failed');
  await retried.ended();
  ci.retryJob(flaky.id);
  ci.finish(flaky.id, 'passed');
  await retried.shows('ci.yml', 'success');

  const origin = await buildOf(whorl, rebuilt);
  await isBound(rebuilt);
  ci.finish(origin.id, 'failed');
  await rebuilt.shows('ci.yml', 'failed');
  const rebuild = ci.rebuild(origin.id);
  expect(await boundTo(whorl, rebuilt, 2)).toBe(rebuild.id);
  ci.finish(rebuild.id, 'passed');
  await rebuilt.shows('ci.yml', 'success');

  const slow = await buildOf(whorl, late);
  await isBound(late);
  ci.finish(slow.id, 'failed', { jobs: 'timed_out' });
  await late.shows('ci.yml', 'timeout');

  const waiting = await buildOf(whorl, blocked);
  await isBound(blocked);
  ci.advance(waiting.id, 'running');
  ci.advance(waiting.id, 'blocked');
  await blocked.shows('ci.yml', 'running');

  // A second build with a good reason, which is cancelled.
  ci.setIndexLag('manual');
  const sha = newSha();
  ci.onRequest(createOf(sha), loseAnswer());
  ci.onWebhook({ where: ({ event }) => event === 'build.scheduled' }, lose());
  const doubled = push({ 'ci.yml': build }, true, { newSha: sha });
  const extra = await buildOf(whorl, doubled);
  const second = await buildOf(whorl, doubled, 'ci.yml', 2);
  ci.reindex();
  ci.setIndexLag(0);
  await until('the extra build is cancelled', () => ci.build(extra.id).state === 'canceling');
  ci.finish(extra.id, 'canceled');
  ci.finish(second.id, 'passed');
  await doubled.shows('ci.yml', 'success');

  for (const one of [three, cancelled, again, retried, rebuilt, late, doubled]) await one.ended();
  await until('what is not served is refused', async () => {
    const rows = await whorl.sql`select from triggers where rkey = ${unserved.rkey} and state = 'refused'`;
    return rows.length === 1;
  });
  await digested(whorl);
  return { three, parked, unserved, cancelled, again, retried, rebuilt, late, blocked, doubled };
}

describe('a small day', () => {
  let seen: Witness;
  let day: Awaited<ReturnType<typeof smallDay>>;
  let good: Evidence;

  beforeAll(async () => {
    seen = await witness();
    day = await smallDay(seen);
    good = await seen.evidence();
  });
  afterAll(() => seen.whorl.close());

  test('keeps all eight invariants, and all of it was looked at', () => {
    const { said, verdicts } = breaks(good);
    expect(said).toBe('');
    for (const { checked } of verdicts) expect(checked).toBeGreaterThan(0);
    expect(summarise(good, verdicts)).toEqual({
      seed: 1,
      pipelines: 10,
      builds: 10,
      expected_builds: 9,
      extras_cancelled: 1,
      lost: 0,
      doubled: 0,
      wrong_final: 0,
      rank_violations: 0,
      forged_accepted: 0,
      stuck_without_reason: 0,
      secrets_found: 0,
      max_settle_s: 0,
      faults: {},
    });
  });

  /** The evidence of the day with something of it changed, which is put back afterwards. */
  async function sabotaged(
    table: string,
    where: PendingQuery,
    change: () => Promise<unknown>,
    more: Partial<Sources> = {},
  ): Promise<Evidence> {
    const { sql } = seen.whorl;
    const saved = `saved_${table}`;
    await sql`create table ${sql(saved)} as select * from ${sql(table)} where ${where}`;
    try {
      await change();
      return await seen.evidence(more);
    } finally {
      await sql`delete from ${sql(table)} where ${where}`;
      await sql`insert into ${sql(table)} overriding system value select * from ${sql(saved)}`;
      await sql`drop table ${sql(saved)}`;
    }
  }

  test('1: a trigger that is gone from the inbox is lost', async () => {
    const { sql } = seen.whorl;
    const mine = sql`rkey = ${day.three.rkey}`;
    const { said } = breaks(await sabotaged('triggers', mine, () => sql`delete from triggers where ${mine}`), 1);
    expect(said).toContain(`${day.three.id}, pushed at`);
  });

  test('2: a status that is gone from the outbox', async () => {
    const { sql } = seen.whorl;
    const mine = sql`pipeline = ${day.three.id} and job = 'ci.yml' and status = 'success'`;
    const { said } = breaks(await sabotaged('statuses', mine, () => sql`delete from statuses where ${mine}`), 2);
    expect(said).toContain(`${day.three.id} ci.yml: the outbox says running`);
    expect(said).toContain('is not in the outbox');
  });

  test('2: a status that says another word than the CI', async () => {
    const { sql } = seen.whorl;
    const mine = sql`pipeline = ${day.late.id} and status = 'timeout'`;
    const change = () => sql`update statuses set status = 'failed' where ${mine}`;
    const either = sql`pipeline = ${day.late.id} and status in ('timeout', 'failed')`;
    const { said } = breaks(await sabotaged('statuses', either, change), 2);
    expect(said).toContain(`${day.late.id} ci.yml: the outbox says failed`);
    expect(said).toContain('it should be timeout');
  });

  test('2: a status that never came to the reader', () => {
    const lost = good.frames.find(({ pipelineRkey, status }) => pipelineRkey === day.late.rkey && status === 'pending');
    const { said } = breaks({ ...good, frames: good.frames.filter((frame) => frame !== lost) }, 2);
    expect(said).toContain(`${day.late.id} ci.yml pending (${lost?.rkey}), sent at`);
  });

  test('4: an attempt that is bound to a build of somebody else', async () => {
    const { sql, ci } = seen.whorl;
    const { metaData } = await buildOf(seen.whorl, day.three);
    const theirs = ci.create('acme', 'app', { commit: day.three.sha, branch: 'main', metaData });
    ci.finish(theirs.id, 'passed');
    await until('its webhooks have come', () => {
      const told = ci.deliveries.filter((one) => one.build?.id === theirs.id);
      return told.length === 2 && told.every(({ outcome }) => outcome === 'answered');
    });
    await digested(seen.whorl);
    breaks(await seen.evidence());
    const bindTo = (build: string | undefined) =>
      sql`update attempts set build = ${build ?? null} where pipeline = ${day.three.id} and job = 'ci.yml'`;
    const ours = good.tables.attempts.find(({ pipeline, job }) => pipeline === day.three.id && job === 'ci.yml');
    await bindTo(theirs.id);
    const { said } = breaks(await seen.evidence(), 4);
    await bindTo(ours?.build ?? undefined);
    expect(said).toContain(`${day.three.id} ci.yml, attempt 1, is bound to build ${theirs.id}, which A Person made`);
  });

  test('5: a secret in a log, compressed and in base64', async () => {
    const { sql } = seen.whorl;
    const mine = sql`pipeline = ${day.three.id} and job = 'wrong.yml'`;
    const content = `x${Buffer.from(`a${planted}`).toString('base64')}`;
    const { data } = await packEntries([JSON.stringify({ kind: 'data', content })]);
    const hex = Buffer.from(data).toString('hex');
    const { said } = breaks(
      await sabotaged(
        'log_chunks',
        mine,
        () => sql`
        insert into log_chunks (pipeline, job, attempt, n, count, bytes, data)
        values (${day.three.id}, 'wrong.yml', 1, 100, 1, 1, decode(${hex}, 'hex'))`,
      ),
      5,
    );
    expect(said).toContain('a planted secret is in table log_chunks');
    expect(said).not.toContain(planted);
  });

  test('6: a trigger that was refused without a reason', async () => {
    const { sql } = seen.whorl;
    const mine = sql`rkey = ${day.unserved.rkey}`;
    const change = () => sql`update triggers set reason = null where ${mine}`;
    const { said } = breaks(await sabotaged('triggers', mine, change), 6);
    expect(said).toContain(`${day.unserved.id}, received at`);
  });

  test('6: a job that failed without a reason in its log', async () => {
    const { sql } = seen.whorl;
    const mine = sql`pipeline = ${day.three.id} and job = 'wrong.yml'`;
    const { said } = breaks(await sabotaged('log_chunks', mine, () => sql`delete from log_chunks where ${mine}`), 6);
    expect(said).toContain(`${day.three.id} wrong.yml, failed, does not give its reason in its log`);
  });

  test('6: a webhook that waits for ever', async () => {
    const { sql } = seen.whorl;
    const [one] = await sql<{ key: string; build: string }[]>`select key, build from deliveries limit 1`;
    const mine = sql`key = ${one?.key ?? ''}`;
    const change = () => sql`update deliveries set state = 'new', due_at = 'infinity' where ${mine}`;
    const { said } = breaks(await sabotaged('deliveries', mine, change), 6);
    expect(said).toContain(`of build ${one?.build} waits since`);
  });

  test('7: a cancel that was carried out in the books alone', async () => {
    const { sql } = seen.whorl;
    const id = randomUUID();
    const mine = sql`id = ${id}`;
    const { said } = breaks(
      await sabotaged(
        'commands',
        mine,
        () => sql`
        insert into commands (id, share, pipeline, kind, by, state, result)
        values (${id}, 0, ${day.blocked.id}, 'cancel', 'tester', 'done', 'Cancelling ci.yml.')`,
      ),
      7,
    );
    expect(said).toContain(`${day.blocked.id} ci.yml: cancel ${id}`);
  });

  test('8: a history that other code made', async () => {
    const dir = await mkdtemp(path.join(tmpdir(), 'whorl-histories-'));
    const file = path.join(dir, 'changed.json');
    const recorded = path.join(import.meta.dirname, '../histories/0.2.0/one-job.json');
    await writeFile(file, (await readFile(recorded, 'utf8')).replaceAll('"create"', '"search"'));
    const { said } = breaks(await seen.evidence({ recorded: [file] }), 8);
    await rm(dir, { recursive: true });
    expect(said).toContain(file);
  });

  test('the day is as it was', async () => {
    breaks(await seen.evidence());
  });
});
