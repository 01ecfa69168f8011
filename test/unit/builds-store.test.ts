import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type PipelineId, pipelineId } from '../../src/pipeline/ids.ts';
import type { BuildRef } from '../../src/providers/provider.ts';
import * as store from '../../src/store/builds.ts';
import { openDatabase } from '../../src/store/db.ts';
import { insertPipeline } from '../../src/store/pipelines.ts';
import { limiter } from '../../src/store/slots.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';

let db: FreshDatabase;
beforeAll(async () => {
  db = await freshDatabase({ max: 20 });
  return () => db.drop();
});

const spec = {
  provider: 'buildkite',
  target: { org: 'acme', pipeline: 'app' },
  knot: 'knot.example',
  rkey: '3kq5',
  job: 'ci.yml',
  repo: { did: 'did:plc:alice', name: 'demo' },
  commit: 'a'.repeat(40),
  branch: 'main',
  kind: 'push',
  message: 'push main',
};
let pipelines = 0;

/** The first attempt of a job that is new. */
async function newAttempt(sql = db.sql): Promise<store.AttemptKey> {
  pipelines += 1;
  const rkey = `rkey${pipelines}`;
  const pipeline: PipelineId = pipelineId(spec.knot, rkey);
  const { knot, repo, kind, commit, branch } = spec;
  const jobs = [{ name: 'ci.yml', provider: 'buildkite', spec, refusal: null }];
  await insertPipeline(sql, { id: pipeline, knot, rkey, repo, kind, commit, branch, title: 'push main', jobs });
  return { pipeline, job: 'ci.yml', attempt: 1 };
}

test('a pipeline is on the disk before its workflow can be started', async () => {
  // The server of the tests does not wait for its disk unless it is told to.
  const name = new URL(db.url).pathname.slice(1);
  await db.sql.unsafe(`alter database ${name} set synchronous_commit = on`);
  const sql = openDatabase(db.url, { max: 1 });
  onTestFinished(() => sql.end());
  for (let round = 0; round < 20; round += 1) {
    const [before] = await sql<[{ at: string }]>`select pg_current_wal_insert_lsn()::text as at`;
    await newAttempt(sql);
    const [after] = await sql<[{ flushed: boolean }]>`
      select pg_current_wal_flush_lsn() > ${before.at}::text::pg_lsn as flushed`;
    expect(after.flushed).toBe(true);
  }
});

let nonces = 0;
const open = (key: store.AttemptKey, posts = 0) => {
  nonces += 1;
  return store.openPost(db.sql, key, { provider: 'buildkite', nonce: `nonce-${nonces}`, posts });
};

async function opened(key: store.AttemptKey, posts = 0): Promise<bigint> {
  const row = await open(key, posts);
  if (!row) throw new Error('no POST was allowed');
  return row.id;
}

const ref = (id: string): BuildRef => ({ id, number: 7, url: `https://ci.example/${id}`, data: { org: 'acme' } });

const load = async (key: store.AttemptKey) => {
  const loaded = await store.loadAttempt(db.sql, key);
  if (!loaded) throw new Error('no such attempt');
  return loaded;
};

const many = <T>(count: number, work: (n: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, n) => work(n)));

describe('an attempt and its POSTs', () => {
  test('of many processes that want to POST at once, one may', async () => {
    const key = await newAttempt();
    const rows = await many(12, () => open(key));
    expect(rows.filter((row) => row !== undefined)).toHaveLength(1);
    const { attempt, posts } = await load(key);
    expect(attempt).toMatchObject({ posts: 1, build: null, stopped: false });
    expect(posts).toMatchObject([{ outcome: 'unknown', ref: null, looks: 0, extra: false }]);
  });

  test('another POST needs to know of the first one, and none may follow a build', async () => {
    const key = await newAttempt();
    const first = await opened(key);
    expect(await open(key, 0)).toBeUndefined();
    await store.refusePost(db.sql, first);
    const second = await opened(key, 1);
    expect((await load(key)).posts.map(({ outcome }) => outcome)).toEqual(['refused', 'unknown']);
    expect(await store.bindBuild(db.sql, key, second, ref('second-post'))).toBe(true);
    expect(await open(key, 2)).toBeUndefined();
  });

  test('of two builds that are bound at once, one is the attempt’s and the other is an extra', async () => {
    const key = await newAttempt();
    const posts = [await opened(key, 0), await opened(key, 1), await opened(key, 2)];
    const mine = await Promise.all(posts.map((post, n) => store.bindBuild(db.sql, key, post, ref(`rival-${n}`))));
    expect(mine.filter(Boolean)).toHaveLength(1);
    const winner = `rival-${mine.indexOf(true)}`;

    const loaded = await load(key);
    expect(loaded.attempt.build).toBe(winner);
    for (const post of loaded.posts)
      expect(post).toMatchObject({ outcome: 'accepted', extra: post.ref?.id !== winner });
    const extra = loaded.posts.find((post) => post.extra)?.ref?.id ?? '';
    await store.extraCancelled(db.sql, 'buildkite', extra);
    expect((await load(key)).posts.filter((post) => post.extra)).toHaveLength(1);
  });

  test('binding the same build again, by whatever POST, is the same build', async () => {
    const key = await newAttempt();
    const [first, second] = [await opened(key, 0), await opened(key, 1)];
    const answers = await many(6, (n) =>
      store.bindBuild(db.sql, key, n % 2 === 0 ? first : second, ref('the-same')).catch(() => null),
    );
    expect(answers.filter((answer) => answer === false)).toEqual([]);
    expect(await store.bindBuild(db.sql, key, first, ref('the-same'))).toBe(true);
    expect(await store.bindBuild(db.sql, key, second, ref('the-same'))).toBe(true);
    expect((await load(key)).posts.filter((post) => post.ref !== null)).toMatchObject([{ ref: ref('the-same') }]);
  });

  test('a stop before the POST forbids it, and a stop before the answer makes the build an extra', async () => {
    const [early, late] = [await newAttempt(), await newAttempt()];
    expect(await store.forbidPosts(db.sql, early)).toBeNull();
    expect(await open(early)).toBeUndefined();

    const post = await opened(late);
    expect(await store.forbidPosts(db.sql, late)).toBeNull();
    expect(await store.bindBuild(db.sql, late, post, ref('too-late'))).toBe(false);
    expect(await load(late)).toMatchObject({ attempt: { build: null, stopped: true }, posts: [{ extra: true }] });
  });

  test('a stop of an attempt that was never loaded counts when it is', async () => {
    const first = await newAttempt();
    const key = { ...first, attempt: 2 };
    expect(await store.forbidPosts(db.sql, key)).toBeNull();
    expect(await load(key)).toMatchObject({ attempt: { stopped: true, posts: 0 }, posts: [] });
    expect(await open(key)).toBeUndefined();
  });

  test('a stop and an answer that race agree: either the stop learns the build, or the build is an extra', async () => {
    await many(15, async (n) => {
      const key = await newAttempt();
      const post = await opened(key);
      const [build, mine] = await Promise.all([
        store.forbidPosts(db.sql, key),
        store.bindBuild(db.sql, key, post, ref(`race-${n}`)),
      ]);
      expect(mine).toBe(build !== null);
    });
  });

  test('a later attempt is made once, with the command that asked for it', async () => {
    const key = { ...(await newAttempt()), attempt: 2 };
    const loaded = await many(6, () => store.loadAttempt(db.sql, key, 'a-command'));
    for (const one of loaded) expect(one?.attempt).toMatchObject({ posts: 0, spec: { branch: 'main' } });
    const rows = await db.sql`select command from attempts where pipeline = ${key.pipeline} and attempt = 2`;
    expect(rows).toMatchObject([{ command: 'a-command' }]);
  });

  test('a person’s rebuild is adopted once, also when many are told of it', async () => {
    const key = await newAttempt();
    await store.bindBuild(db.sql, key, await opened(key), ref('origin'));
    const adopt = (attempt: number) =>
      store.adoptBuild(db.sql, { ...key, attempt }, 'buildkite', ref('rebuilt'), 'origin');
    const adopted = await many(4, () => adopt(2).catch(() => undefined));
    expect(adopted).toContain(2);
    expect(await adopt(3)).toBe(2);
    const known = await store.knownBuilds(db.sql, key.pipeline, ['origin', 'rebuilt', 'nobody']);
    expect(known.map((one) => one.ref.id).sort()).toEqual(['origin', 'rebuilt']);
  });
});

describe('slots of a rate budget', () => {
  const lap = 3_600_000;
  let buckets = 0;
  const newBucket = () => `bucket-${(buckets += 1)}`;
  /** Answers are waits turned into times of our clock, so two for the same slot differ by what happens in between. */
  const tolerance = 60_000;
  const inFuture = (at: Date, by: number): boolean => at.getTime() - Date.now() > by;

  test('however many ask at once, no window holds more than the budget', async () => {
    const { reserve } = limiter(db.sql, { limit: 10, windowMs: lap });
    const bucket = newBucket();
    const times = await many(35, (n) => reserve(bucket, `call-${n}`, 'cancel'));
    expect(times.filter((at) => !inFuture(at, tolerance))).toHaveLength(10);
    const [row] = await db.sql<[{ most: number }]>`
      select max(count)::int as most from (
        select count(*) from slots one join slots other on other.bucket = one.bucket
          and other.at > one.at - ${lap} * interval '1 millisecond' and other.at <= one.at
        where one.bucket = ${bucket} group by one.key
      ) windows`;
    expect(row.most).toBe(10);
  });

  test('a call that was put off keeps its slot however often it comes back', async () => {
    const { reserve } = limiter(db.sql, { limit: 2, windowMs: lap });
    const bucket = newBucket();
    await many(2, (n) => reserve(bucket, `first-${n}`, 'cancel'));
    const at = await reserve(bucket, 'patient', 'cancel');
    expect(inFuture(at, lap / 2)).toBe(true);
    const again = await many(5, () => reserve(bucket, 'patient', 'cancel'));
    for (const same of again) expect(Math.abs(Number(same) - Number(at))).toBeLessThan(tolerance);
    const rows = await db.sql`select from slots where bucket = ${bucket} and key = 'patient'`;
    expect(rows).toHaveLength(1);
    // and two that come later queue behind it
    await reserve(bucket, 'late', 'cancel');
    expect(inFuture(await reserve(bucket, 'later', 'cancel'), 1.5 * lap)).toBe(true);
  });

  test('a call that was made queues again under the same name', async () => {
    const { reserve } = limiter(db.sql, { limit: 1, windowMs: lap });
    const bucket = newBucket();
    await reserve(bucket, 'read', 'cancel');
    expect(inFuture(await reserve(bucket, 'read', 'cancel'), lap / 2)).toBe(true);
    // its time comes, and the call is made
    await db.sql`update slots set at = at - ${lap} * interval '1 millisecond' where bucket = ${bucket}`;
    expect(inFuture(await reserve(bucket, 'read', 'cancel'), tolerance)).toBe(false);
    expect(inFuture(await reserve(bucket, 'read', 'cancel'), lap / 2)).toBe(true);
  });

  test('creates leave room for a cancel, and reads take no more than their share', async () => {
    const { reserve } = limiter(db.sql, { limit: 20, windowMs: lap });
    const bucket = newBucket();
    const nowOf = async (count: number, priority: 'read' | 'create' | 'cancel') => {
      const times = await many(count, (n) => reserve(bucket, `${priority}-${n}`, priority));
      return times.filter((at) => !inFuture(at, tolerance)).length;
    };
    expect(await nowOf(10, 'read')).toBe(6);
    expect(await nowOf(30, 'create')).toBe(18);
    expect(await nowOf(1, 'cancel')).toBe(1);
  });

  test('nothing is given a time before the one that the CI named', async () => {
    const { reserve, block } = limiter(db.sql, { limit: 10, windowMs: lap });
    const bucket = newBucket();
    await block(bucket, new Date(Date.now() + lap));
    await block(bucket, new Date(Date.now() + lap / 4));
    expect(inFuture(await reserve(bucket, 'call', 'cancel'), lap - tolerance)).toBe(true);
  });
});
