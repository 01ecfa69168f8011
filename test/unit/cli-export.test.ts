import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { shareOfPipelineId } from '../../src/pipeline/share.ts';
import { walkAudit } from '../../src/store/audit.ts';
import { insertCommand } from '../../src/store/commands.ts';
import { nextEpoch } from '../../src/store/pipelines.ts';
import { resendStatuses } from '../../src/store/statuses.ts';
import { commandLine, plannedPipeline, told } from '../support/cli.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';

let db: FreshDatabase;
beforeAll(async () => void (db = await freshDatabase()));
afterAll(() => db.drop());
const whorl = commandLine(() => db.url);

interface Line {
  time: string;
  type: string;
  pipeline: string;
  [field: string]: unknown;
}
async function exported(line: string): Promise<Line[]> {
  const { code, out, err } = await whorl(line);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  return out === '' ? [] : out.split('\n').map((each) => JSON.parse(each) as Line);
}

/** A pipeline with one of everything. */
async function life() {
  const rest = '2026-01-01T00:00:00Z';
  const id = await plannedPipeline(db.sql);
  const [, knot = '', rkey = ''] = id.split('/');
  await db.sql`
    insert into triggers (knot, nsid, rkey, share, state, reason, received_at)
    values (${knot}, 'sh.tangled.pipeline', ${rkey}, ${shareOfPipelineId(id)}, 'started', null, ${rest})`;
  await db.sql`
    insert into builds (pipeline, job, attempt, provider, nonce, outcome, build, number)
    values (${id}, 'ci.yml', 1, 'buildkite', ${randomUUID()}, 'accepted', ${randomUUID()}, 7)`;
  await told(db.sql, id, {});
  await resendStatuses(db.sql, id);
  await told(db.sql, id, { status: 'failed', error: 'exit code 1', exitCode: 1, learnt: 'webhook' });
  await insertCommand(db.sql, { id: randomUUID(), pipeline: id, kind: 'rerun', by: 'alice' });
  await nextEpoch(db.sql, id, 'a rerun');
  return id;
}

test('everything that happened to a pipeline is there, in the order of its time, with who asked', async () => {
  const id = await life();
  const lines = await exported(`export --pipeline ${id}`);
  const types = lines.map(({ type }) => type);
  expect(new Set(types)).toEqual(
    new Set(['trigger', 'pipeline', 'attempt', 'build', 'status', 'command', 'reopening']),
  );
  expect(types[0]).toBe('trigger');
  const times = lines.map(({ time }) => time);
  expect(times).toEqual(times.toSorted());
  expect(lines.every(({ pipeline }) => pipeline === id)).toBe(true);
  expect(lines.find(({ type }) => type === 'command')).toMatchObject({ by: 'alice', kind: 'rerun', state: 'new' });
  expect(lines.find(({ type }) => type === 'attempt')).toMatchObject({ attempt: 1, learnt: 'webhook' });
  expect(lines.filter(({ type }) => type === 'status').map(({ status, resend }) => [status, resend])).toEqual([
    ['pending', false],
    ['pending', true],
    ['failed', false],
  ]);
});

test('docs/audit.md names every field of every type, and no other', async () => {
  const id = await life();
  const docs = readFileSync(new URL('../../docs/audit.md', import.meta.url), 'utf8');
  const [head = '', ...sections] = docs.split('\n## ');
  const fieldsOf = (text: string): string[] =>
    text
      .split('\n')
      .flatMap((line) =>
        [...(/^\| ((?:`\w+`(?:, )?)+) \|/.exec(line)?.[1] ?? '').matchAll(/`(\w+)`/g)].map(([, name]) => name ?? ''),
      );
  const common = fieldsOf(head);
  for (const line of await exported(`export --pipeline ${id}`)) {
    const section = sections.find((each) => each.startsWith(`${line.type}\n`)) ?? '';
    expect([line.type, Object.keys(line).toSorted()]).toEqual([
      line.type,
      [...common, ...fieldsOf(section)].toSorted(),
    ]);
  }
});

test('since leaves out what was before, and a trigger that was refused is there with the reason', async () => {
  const rkey = randomUUID().slice(0, 13);
  await db.sql`
    insert into triggers (knot, nsid, rkey, share, state, reason, repo)
    values ('knot.example', 'sh.tangled.pipeline', ${rkey}, 0, 'refused', 'nobody serves it', 'did:plc:x/site')`;
  const lines = await exported('export --since 1h');
  expect(lines).toContainEqual(
    expect.objectContaining({
      pipeline: `pipeline/knot.example/${rkey}`,
      state: 'refused',
      reason: 'nobody serves it',
    }),
  );
  expect(lines.some(({ time }) => time.startsWith('2026-01-01'))).toBe(false);
  const tomorrow = new Date(Date.now() + 86_400_000).toISOString();
  expect(await exported(`export --since ${tomorrow}`)).toEqual([]);
});

test('a long trail comes in pages from one moment, and what is written meanwhile is not in it', async () => {
  await db.sql`
    insert into triggers (knot, nsid, rkey, share, state)
    select 'many.example', 'sh.tangled.pipeline', n, 0, 'ended' from generate_series(1, 3000) n`;
  const sizes: number[] = [];
  const seen = new Set<string>();
  let more: Promise<unknown> = Promise.resolve();
  await walkAudit(db.sql, {}, (rows) => {
    if (sizes.length === 0) {
      more =
        db.sql`insert into triggers (knot, nsid, rkey, share, state) values ('many.example', 'x', 'late', 0, 'ended')`.execute();
    }
    sizes.push(rows.length);
    for (const { type, pipeline } of rows) if (type === 'trigger') seen.add(pipeline);
  });
  await more;
  expect(Math.max(...sizes)).toBe(500);
  expect(sizes.length).toBeGreaterThan(6);
  for (let n = 1; n <= 3000; n++) expect(seen.has(`pipeline/many.example/${n}`)).toBe(true);
  expect(seen.has('pipeline/many.example/late')).toBe(false);
});
