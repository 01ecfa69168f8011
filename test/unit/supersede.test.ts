import * as fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { tidAt } from '../../src/forges/tangled/tid.ts';
import { pipelineId } from '../../src/pipeline/ids.ts';
import { insertPipeline } from '../../src/store/pipelines.ts';
import { supersede } from '../../src/store/supersede.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';

let db: FreshDatabase;
beforeEach(async () => void (db = await freshDatabase({ max: 8 })));
afterEach(() => db.drop());

const start = Date.parse('2026-05-01T12:00:00Z');

interface Push {
  /** In the order in which the knot saw them. */
  n: number;
  branch?: string;
  did?: string;
  tag?: boolean;
  /** Names of jobs, and whether their files ask for it. */
  jobs?: Record<string, boolean>;
  stamp?: string;
  /** Begins its key. */
  name?: string;
}

const stampOf = ({ n, stamp = tidAt(start + n * 1_000) }: Push) => stamp;
const idOf = (push: Push) => pipelineId('knot.example', `${push.name ?? 'push'}-${push.n}`);

async function write(push: Push): Promise<void> {
  const { n, branch = 'main', did = 'did:plc:a', tag = false, jobs = { 'ci.yml': true } } = push;
  const id = idOf(push);
  await insertPipeline(db.sql, {
    id,
    knot: 'knot.example',
    rkey: id.split('/')[2] ?? '',
    repo: { did, name: 'site' },
    kind: 'push',
    commit: `${n}`.padStart(40, 'c'),
    branch,
    tag,
    title: `push ${n}`,
    ...(tag ? {} : { stamp: stampOf(push) }),
    jobs: Object.entries(jobs).map(([name, asks]) => {
      return { name, provider: 'fake', spec: null, refusal: null, supersede: asks && !tag };
    }),
  });
}

const arrive = async (push: Push) => {
  await write(push);
  return supersede(db.sql, idOf(push));
};

const cancelled = async () => {
  const rows = await db.sql<{ pipeline: string; job: string; reason: string }[]>`
    select pipeline, job, reason from commands where kind = 'cancel' order by seq`;
  return [...rows];
};

test('the newer push cancels the older one’s job, once, and says why', async () => {
  await arrive({ n: 1 });
  expect(await arrive({ n: 2 })).toHaveLength(1);
  expect(await arrive({ n: 2 })).toEqual([]);
  expect(await arrive({ n: 1 })).toEqual([]);
  expect(await cancelled()).toEqual([
    {
      pipeline: idOf({ n: 1 }),
      job: 'ci.yml',
      reason: `Superseded by ${idOf({ n: 2 })}, a newer push to main.`,
    },
  ]);
});

test('an older push that comes late is cancelled, and cancels nothing', async () => {
  await arrive({ n: 2 });
  await arrive({ n: 3 });
  await arrive({ n: 1 });
  const rows = await cancelled();
  expect(rows.map(({ pipeline }) => pipeline)).toEqual([idOf({ n: 2 }), idOf({ n: 1 })]);
  expect(rows[1]?.reason).toContain(idOf({ n: 3 }));
});

test('of two with one stamp, the later name is the newer one', async () => {
  const stamp = tidAt(start);
  await arrive({ n: 2, stamp });
  await arrive({ n: 1, stamp });
  expect((await cancelled()).map(({ pipeline }) => pipeline)).toEqual([idOf({ n: 1 })]);
});

test.each<[string, Push]>([
  ['another branch', { n: 2, branch: 'next' }],
  ['another repository', { n: 2, did: 'did:plc:b' }],
  ['another file', { n: 2, jobs: { 'lint.yml': true } }],
  ['a tag of the same name', { n: 2, tag: true }],
  ['a file that does not ask for it any more', { n: 2, jobs: { 'ci.yml': false } }],
])('%s cancels nothing', async (_what, push) => {
  await arrive({ n: 1 });
  await arrive(push);
  await arrive({ n: 1 });
  expect(await cancelled()).toEqual([]);
});

test('a job whose own file did not ask for it, and one that has ended, are left alone', async () => {
  await arrive({ n: 1, jobs: { 'ci.yml': false } });
  await arrive({ n: 2 });
  await db.sql`update jobs set status = 'success', rank = 2 where pipeline = ${idOf({ n: 2 })}`;
  await arrive({ n: 3 });
  expect(await cancelled()).toEqual([]);
});

test('what somebody runs again by hand stays, until there is a newer push', async () => {
  await arrive({ n: 1 });
  await arrive({ n: 2 });
  await db.sql`update jobs set status = 'cancelled', rank = 2 where pipeline = ${idOf({ n: 1 })}`;
  await db.sql`
    insert into attempts (pipeline, job, attempt, run_key) values (${idOf({ n: 1 })}, 'ci.yml', 2, 'again')`;
  await db.sql`update jobs set status = 'running', rank = 1, attempt = 2 where pipeline = ${idOf({ n: 1 })}`;
  expect(await cancelled()).toHaveLength(1);
  await arrive({ n: 3 });
  const pipelines = (await cancelled()).map(({ pipeline }) => pipeline);
  expect(pipelines.toSorted()).toEqual([1, 1, 2].map((n) => idOf({ n })));
});

test('a name of any length makes a command', async () => {
  const jobs = { [`${'x'.repeat(250)}.yml`]: true };
  const name = 'k'.repeat(300);
  await arrive({ n: 1, name, jobs });
  await arrive({ n: 2, name, jobs });
  const [row] = await db.sql<{ id: string }[]>`select id from commands`;
  expect(row?.id).toMatch(/^supersede\/[0-9a-f]{64}$/);
});

const branches = ['main', 'next'] as const;
const pushes = fc.uniqueArray(
  fc.record({
    n: fc.integer({ min: 0, max: 1_000 }),
    branch: fc.constantFrom(...branches),
    jobs: fc.constantFrom<Record<string, boolean>>(
      { 'a.yml': true },
      { 'a.yml': true, 'b.yml': true },
      { 'a.yml': false, 'b.yml': true },
      { 'a.yml': false },
    ),
    /** Dies after it was written down, and is done again at the end. */
    dies: fc.boolean(),
    /** Comes a second time. */
    twice: fc.boolean(),
  }),
  { selector: ({ n }) => n, minLength: 1, maxLength: 10 },
);

test('at quiet only the newest is alive, in whatever order they come, together, twice, or after a crash', async () => {
  await fc.assert(
    fc.asyncProperty(pushes, fc.integer({ min: 1, max: 5 }), async (all, together) => {
      await db.sql`truncate commands, pipelines cascade`;
      for (let at = 0; at < all.length; at += together) {
        await Promise.all(
          all.slice(at, at + together).map(async (push) => {
            await write(push);
            if (!push.dies) await supersede(db.sql, idOf(push));
            if (push.twice) await arrive(push);
          }),
        );
      }
      for (const push of all.filter(({ dies }) => dies)) await arrive(push);

      const dead = (await cancelled()).map(({ pipeline, job }) => `${pipeline} ${job}`);
      expect(new Set(dead).size).toBe(dead.length);
      const doomed = branches.flatMap((branch) =>
        ['a.yml', 'b.yml'].flatMap((job) => {
          const ask = all.filter((push) => push.branch === branch && (push.jobs[job] ?? false));
          const newest = Math.max(...ask.map(({ n }) => n));
          return ask.filter(({ n }) => n < newest).map((push) => `${idOf(push)} ${job}`);
        }),
      );
      expect(dead.toSorted()).toEqual(doomed.toSorted());
    }),
    { numRuns: 60 },
  );
}, 120_000);
