import { beforeAll, describe, expect, test } from 'vitest';
import { logLine } from '../../src/forges/tangled/log.ts';
import { type PipelineId, pipelineId } from '../../src/pipeline/ids.ts';
import type { AttemptKey } from '../../src/store/builds.ts';
import { packEntries, unpackEntries } from '../../src/store/log-chunks.ts';
import { removeLogs } from '../../src/store/log-retention.ts';
import * as store from '../../src/store/logs.ts';
import { listen } from '../../src/store/listen.ts';
import { insertPipeline } from '../../src/store/pipelines.ts';
import { isWatched, watchLog } from '../../src/store/watchers.ts';
import { openCommands, settleCommand } from '../../src/store/work.ts';
import { shareOfPipelineId } from '../../src/pipeline/share.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';

let db: FreshDatabase;
beforeAll(async () => {
  db = await freshDatabase({ max: 20 });
  return () => db.drop();
});

let pipelines = 0;

/** The first attempt of a job that is new. */
async function newAttempt(job = 'ci.yml'): Promise<AttemptKey> {
  pipelines += 1;
  const rkey = `rkey${pipelines}`;
  const pipeline: PipelineId = pipelineId('knot.example', rkey);
  const repo = { did: 'did:plc:alice', name: 'demo' };
  const jobs = [{ name: job, provider: 'fake', spec: null, refusal: null }];
  const title = 'push main';
  await insertPipeline(db.sql, {
    id: pipeline,
    knot: 'knot.example',
    rkey,
    repo,
    kind: 'push',
    commit: 'a'.repeat(40),
    branch: 'main',
    title,
    jobs,
  });
  return { pipeline, job, attempt: 1 };
}

async function opened(key: AttemptKey): Promise<store.LogState> {
  const log = await store.openLog(db.sql, key);
  if (!log) throw new Error('there is no such job');
  return log;
}

const line = (text: string): string => logLine({ step: 0, text, at: 0 });

const stepRow = (step: string, place: number, done = false): store.StoredStep<number> => ({
  step,
  position: 0,
  about: { id: step, name: step, state: 'running' },
  place,
  done,
});

async function append(key: AttemptKey, log: store.LogState, texts: string[], step = stepRow('one', 0)) {
  const chunks = texts.length > 0 ? [await packEntries(texts.map(line))] : [];
  return store.appendLog(db.sql, key, { after: log, chunks, bytes: texts.join('\n').length, steps: 1, step });
}

/** The texts of a log's lines, in their order; fails when numbers are missing or double. */
async function texts(key: AttemptKey): Promise<string[]> {
  const chunks = await db.sql<{ n: bigint; count: number; data: Uint8Array }[]>`
    select n, count, data from log_chunks where pipeline = ${key.pipeline} and job = ${key.job} order by n`;
  const lines: string[] = [];
  for (const { n, count, data } of chunks) {
    expect(Number(n)).toBe(lines.length);
    const entries = await unpackEntries(data);
    expect(entries.length).toBe(count);
    for (const entry of entries) lines.push((JSON.parse(entry) as { content: string }).content);
  }
  return lines;
}

describe('appending', () => {
  test('entries come back in the order in which they were added, with the step where it was read up to', async () => {
    const key = await newAttempt();
    const first = await append(key, await opened(key), ['a', 'b'], stepRow('one', 10));
    if (!first.added) throw new Error('not added');
    expect(first.log).toMatchObject({ entries: 2, bytes: 3, steps: 1, complete: -1, removed: false });
    await append(key, first.log, ['c'], stepRow('one', 20, true));

    expect(await texts(key)).toEqual(['a', 'b', 'c']);
    expect(await store.stepsOf(db.sql, key)).toEqual([stepRow('one', 20, true)]);
  });

  test('several chunks are added in one statement', async () => {
    const key = await newAttempt();
    const chunks = [await packEntries([line('a'), line('b')]), await packEntries([line('c')])];
    const after = await opened(key);
    await store.appendLog(db.sql, key, { after, chunks, bytes: 3, steps: 0, step: stepRow('one', 3) });
    expect(await texts(key)).toEqual(['a', 'b', 'c']);
    expect((await opened(key)).entries).toBe(3);
  });

  test('of two who add to the same end one is told what the other left', async () => {
    const key = await newAttempt();
    const log = await opened(key);
    await append(key, log, ['mine'], stepRow('one', 10));
    const late = await append(key, log, ['yours'], stepRow('one', 10));

    expect(late).toMatchObject({ added: false, log: { entries: 1 }, step: { step: 'one', place: 10 } });
    expect(await texts(key)).toEqual(['mine']);
  });

  test('many who bring the same lines at once leave each line once, in its order', async () => {
    const key = await newAttempt();
    const all = Array.from({ length: 60 }, (_, n) => `line ${n}`);
    const bring = async (stride: number): Promise<void> => {
      let log = await opened(key);
      let place = (await store.stepsOf<number>(db.sql, key))[0]?.place ?? 0;
      while (place < all.length) {
        const next = Math.min(all.length, place + stride);
        const answer = await append(key, log, all.slice(place, next), stepRow('one', next));
        place = answer.added ? next : (answer.step?.place ?? 0);
        if (!answer.log) throw new Error('the log is gone');
        log = answer.log;
      }
    };
    await Promise.all([bring(1), bring(2), bring(3), bring(7)]);
    expect(await texts(key)).toEqual(all);
  });

  test('a log of a job that is not there is not made', async () => {
    const nowhere: AttemptKey = { ...(await newAttempt()), job: 'other.yml' };
    expect(await store.openLog(db.sql, nowhere)).toBeUndefined();
  });

  test('whoever listens hears of entries and of the end, once', async () => {
    const key = await newAttempt('my ci.yml');
    const heard: string[] = [];
    const listener = listen(db.sql, ['logs'], (channel, payload) => heard.push(channel ? payload : 'listening'));
    await until('it listens', () => heard.includes('listening'));
    await append(key, await opened(key), ['a']);
    await store.completeLog(db.sql, key, 0);
    await store.completeLog(db.sql, key, 0);
    const mark = await newAttempt();
    await append(mark, await opened(mark), ['mark']);
    await until('the last notice', () => heard.includes(`${mark.pipeline} 1 ci.yml`));
    const notice = `${key.pipeline} 1 my ci.yml`;
    expect(heard.slice(1)).toEqual([notice, notice, `${mark.pipeline} 1 ci.yml`]);
    await listener.close();
  });
});

describe('steps', () => {
  const shown = (id: string, state: 'waiting' | 'running' | 'ended') => ({ id, name: `step ${id}`, state });
  const list = (key: AttemptKey, ids: Parameters<typeof shown>[], listed?: number) =>
    store.saveSteps(
      db.sql,
      key,
      ids.map((step) => shown(...step)),
      0,
      listed,
    );

  test('the CI is asked for them once in a while, whoever asks', async () => {
    const key = await newAttempt();
    await opened(key);
    const turns = await Promise.all(Array.from({ length: 8 }, () => store.mayList(db.sql, key, 60_000)));
    expect(turns.filter(Boolean)).toHaveLength(1);
    expect(await store.mayList(db.sql, key, 0)).toBe(true);
  });

  test('what is new is added, what went on is noted, and what was read of one stays', async () => {
    const key = await newAttempt();
    const log = await opened(key);
    await list(key, [
      ['a', 'running'],
      ['b', 'waiting'],
    ]);
    await append(key, log, ['x'], { ...stepRow('a', 5), about: shown('a', 'running') });
    await list(key, [
      ['a', 'ended'],
      ['b', 'running'],
      ['c', 'waiting'],
    ]);

    const steps = await store.stepsOf<number>(db.sql, key);
    expect(steps.map(({ step, about, place }) => [step, about.state, place])).toEqual([
      ['a', 'ended', 5],
      ['b', 'running', 0],
      ['c', 'waiting', 0],
    ]);
  });

  test('a late answer does not open again what has ended', async () => {
    const key = await newAttempt();
    await opened(key);
    await list(key, [['a', 'ended']], 2);
    await list(key, [['a', 'running']], 1);
    expect((await store.stepsOf(db.sql, key))[0]?.about.state).toBe('ended');
    expect((await opened(key)).listed).toBe(2);
  });
});

describe('watchers', () => {
  const commandOf = async (key: AttemptKey) =>
    (await openCommands(db.sql, shareOfPipelineId(key.pipeline), 1000)).find(
      ({ pipeline }) => pipeline === key.pipeline,
    );

  test('readers who come together are one watcher, of whom dispatch hears once', async () => {
    const key = await newAttempt();
    const watch = () => watchLog(db.sql, { pipeline: key.pipeline, job: key.job, forMs: 60_000 });
    const told = await Promise.all(Array.from({ length: 10 }, watch));
    expect(told.filter(Boolean)).toHaveLength(1);
    const command = await commandOf(key);
    expect(command).toMatchObject({ kind: 'watch', job: 'ci.yml', id: `watch/${key.pipeline}/ci.yml` });
    await settleCommand(db.sql, command?.id ?? '', 'done', 'told');
    expect(await watch()).toBe(false);
    expect(await commandOf(key)).toBeUndefined();
    expect(await isWatched(db.sql, key.pipeline, key.job)).toBe(true);
    expect(await isWatched(db.sql, key.pipeline, 'other.yml')).toBe(false);
  });

  test('a watcher that expired is told anew when somebody reads again', async () => {
    const key = await newAttempt();
    const watch = (forMs: number) => watchLog(db.sql, { pipeline: key.pipeline, job: key.job, forMs });
    await watch(0);
    await until('it expired', async () => !(await isWatched(db.sql, key.pipeline, key.job)));
    await settleCommand(db.sql, (await commandOf(key))?.id ?? '', 'done', 'told');
    expect(await watch(60_000)).toBe(true);
    expect(await commandOf(key)).toMatchObject({ kind: 'watch', tries: 0 });
    expect(await isWatched(db.sql, key.pipeline, key.job)).toBe(true);
  });

  test('a reader who stays for less long does not shorten the watch', async () => {
    const key = await newAttempt();
    await watchLog(db.sql, { pipeline: key.pipeline, job: key.job, forMs: 60_000 });
    await watchLog(db.sql, { pipeline: key.pipeline, job: key.job, forMs: 0 });
    expect(await isWatched(db.sql, key.pipeline, key.job)).toBe(true);
  });
});

describe('retention', () => {
  const age = (key: AttemptKey, days: number) =>
    db.sql`update logs set created_at = clock_timestamp() - ${days} * interval '1 day' where pipeline = ${key.pipeline}`;
  const many = { days: 30, spaceBytes: 2 ** 40 };

  test('a log that is too old goes, its row stays, and nothing is added to it any more', async () => {
    const key = await newAttempt();
    const young = await newAttempt();
    await append(key, await opened(key), ['old']);
    await append(young, await opened(young), ['young']);
    await age(key, 31);
    expect(await removeLogs(db.sql, many)).toBe(1);

    expect(await texts(key)).toEqual([]);
    expect(await store.stepsOf(db.sql, key)).toEqual([]);
    expect(await texts(young)).toEqual(['young']);
    const log = await opened(key);
    expect(log).toMatchObject({ entries: 1, removed: true });
    expect(await append(key, log, ['late'])).toMatchObject({ added: false, log: { removed: true } });
    expect(await texts(key)).toEqual([]);
  });

  test('the oldest go until the others have room, in small batches', async () => {
    const noise = Array.from({ length: 200 }, (_, n) => `${n} ${Math.random()}`);
    const keys = await Promise.all(Array.from({ length: 7 }, () => newAttempt()));
    for (const [n, key] of keys.entries()) {
      await append(key, await opened(key), noise);
      await age(key, 20 - n);
    }
    const [size] = await db.sql<{ stored: number }[]>`
      select sum(stored)::float8 as stored from logs where pipeline = any(${keys.slice(4).map(({ pipeline }) => pipeline)}::text[])`;
    const [others] = await db.sql<{ stored: number }[]>`
      select sum(stored)::float8 as stored from logs where removed_at is null and created_at > clock_timestamp() - interval '1 day'`;
    const spaceBytes = (size?.stored ?? 0) + (others?.stored ?? 0);
    expect(await removeLogs(db.sql, { days: 30, spaceBytes, batch: 2 })).toBe(4);

    const left = await Promise.all(keys.map(async (key) => (await texts(key)).length > 0));
    expect(left).toEqual([false, false, false, false, true, true, true]);
    const [stored] = await db.sql<{ rest: number }[]>`
      select count(*)::int as rest from logs where removed_at is not null and stored > 0`;
    expect(stored?.rest).toBe(0);
  });
});
