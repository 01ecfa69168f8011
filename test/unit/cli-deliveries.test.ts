import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parsePipelineId, type PipelineId } from '../../src/pipeline/ids.ts';
import { commandLine, plannedPipeline } from '../support/cli.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';

let db: FreshDatabase;
beforeAll(async () => void (db = await freshDatabase()));
afterAll(() => db.drop());
const whorl = commandLine(() => db.url);

interface Row {
  build?: string;
  provider?: string;
  state?: 'new' | 'done' | 'foreign';
  reason?: string;
  address?: PipelineId;
  event?: string;
  tookMs?: number;
  rebuiltFrom?: string;
}

/** A webhook as it is stored; an old one has lost what it said. */
async function delivery({ build = randomUUID(), provider = 'buildkite', state = 'done', reason, ...more }: Row = {}) {
  const { address, event = 'build.finished', tookMs = 40, rebuiltFrom } = more;
  const { knot, rkey } = parsePipelineId(address ?? '') ?? { knot: null, rkey: null };
  await db.sql`
    insert into deliveries (provider, key, share, event, build, rebuilt_from, knot, rkey, job, ref, seen, state, reason, settled_at)
    values (${provider}, ${randomUUID()}, 0, ${event}, ${build}, ${rebuiltFrom ?? null}, ${knot}, ${rkey},
      ${knot && 'ci.yml'}, null, null, ${state}, ${reason ?? null},
      ${state === 'new' ? null : db.sql`clock_timestamp() + ${tookMs} * interval '1 ms'`})`;
  return build;
}

async function built(id: PipelineId, number: number): Promise<string> {
  const build = randomUUID();
  await db.sql`
    insert into builds (pipeline, job, attempt, provider, nonce, outcome, build, number)
    values (${id}, 'ci.yml', 1, 'buildkite', ${randomUUID()}, 'accepted', ${build}, ${number})`;
  return build;
}

interface Page {
  deliveries: Record<string, unknown>[];
  next: string | null;
}
const listed = async (line: string): Promise<Page> => {
  const { code, out, err } = await whorl(`deliveries ${line} --json`.replace('  ', ' '));
  expect({ code, err }).toEqual({ code: 0, err: '' });
  return JSON.parse(out) as Page;
};
const builds = async (line: string) => (await listed(line)).deliveries.map(({ build }) => build);

test('a webhook is found by its build, by its number, and by its pipeline, however it is bound to it', async () => {
  const id = await plannedPipeline(db.sql);
  const bound = await built(id, 4711);
  await delivery({ build: bound, tookMs: 1_500 });
  const rebuilt = await delivery({ rebuiltFrom: bound });
  const addressed = await delivery({ address: id, state: 'foreign', reason: 'its build is another one' });
  await delivery();
  expect((await listed(`--build ${bound}`)).deliveries).toEqual([
    expect.objectContaining({ build: bound, number: 4711, pipeline: id, job: 'ci.yml', state: 'done', reason: null }),
  ]);
  expect(await builds('--build 4711')).toEqual([bound]);
  expect(await builds(`--pipeline ${id}`)).toEqual([addressed, bound]);
  expect((await listed(`--build ${rebuilt}`)).deliveries[0]).toMatchObject({ pipeline: id, job: 'ci.yml' });
  const { out } = await whorl(`deliveries --pipeline ${id}`);
  expect(out).toMatch(/foreign .* its build is another one/);
  expect(out).toMatch(/done +1\.5s +#4711 +knot\.example\/\S+ ci\.yml/);
});

test('state, provider and age choose, and pages go on', async () => {
  const provider = `p${randomUUID().slice(0, 6)}`;
  const all = [];
  for (let n = 0; n < 5; n++) all.unshift(await delivery({ provider, state: n === 2 ? 'new' : 'done' }));
  expect(await builds(`--provider ${provider}`)).toEqual(all);
  expect(await builds(`--provider ${provider} --state new`)).toEqual([all[2]]);
  expect(await builds(`--provider ${provider} --since 1h`)).toEqual(all);
  const first = await whorl(`deliveries --provider ${provider} --limit 3`);
  const more = /\nMore: whorl (.*)$/.exec(first.out)?.[1] ?? '';
  const second = await whorl(`${more} --json`);
  expect(JSON.parse(second.out)).toMatchObject({ deliveries: [{ build: all[3] }, { build: all[4] }], next: null });
});

test('nothing that fits is said in words, and an unknown pipeline is one', async () => {
  expect(await whorl('deliveries --provider nobody')).toMatchObject({ code: 0, out: 'No delivery fits.' });
  expect(await whorl('deliveries --pipeline knot.example/nothing')).toMatchObject({
    code: 1,
    err: expect.stringContaining('nothing is known of a pipeline'),
  });
});
