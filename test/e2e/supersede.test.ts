import { expect, test, vi } from 'vitest';
import { tidAt } from '../../src/forges/tangled/tid.ts';
import { buildOf, isBound, jobThat, ownSpindle } from '../support/pipelines.ts';
import { buildkiteFile, type Pushed, type Spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 90_000 });

const asks = (pipeline = 'app') => `${buildkiteFile(pipeline)}whorl:\n  supersede: true\n`;
const ciState = (whorl: Spindle, id: string) => whorl.ci.builds().find((build) => build.id === id)?.state;

async function running(whorl: Spindle, pushed: Pushed, job = 'ci.yml'): Promise<string> {
  const { id } = await buildOf(whorl, pushed, job);
  await isBound(pushed, job);
  whorl.ci.advance(id, 'running');
  await pushed.shows(job, 'running');
  return id;
}

const commandsOf = (whorl: Spindle, pushed: Pushed) =>
  whorl.sql<{ job: string; state: string }[]>`
    select job, state from commands where pipeline = ${pushed.id} and kind = 'cancel'`;

/** Dispatch has looked at everything. */
const allSettled = (whorl: Spindle) =>
  until('nothing waits', async () => {
    const [row] = await whorl.sql<[{ n: number }]>`
      select (select count(*) from triggers where state in ('new', 'held'))
        + (select count(*) from commands where state = 'new') as n`;
    return Number(row.n) === 0;
  });

test.concurrent('a newer push cancels the older one’s job of the same file, and its status says by what', async (context) => {
  const whorl = await ownSpindle(context, { durations: { cancelConfirm: 60_000 } });
  const old = whorl.push({ 'ci.yml': asks(), 'lint.yml': buildkiteFile('lint') });
  const ci = await running(whorl, old);
  const lint = await running(whorl, old, 'lint.yml');
  const other = whorl.push({ 'ci.yml': asks() }, { ref: 'refs/heads/next' });
  const tag = whorl.push({ 'ci.yml': asks() }, { ref: 'refs/tags/main' });
  const pull = whorl.push(
    { 'ci.yml': asks() },
    { kind: 'pull_request', pullRequest: { sourceBranch: 'main', targetBranch: 'main' } },
  );
  for (const pushed of [other, tag, pull]) await running(whorl, pushed);
  // a force push: the commit is another one, and older if anything
  const fresh = whorl.push({ 'ci.yml': asks(), 'lint.yml': buildkiteFile('lint') }, { oldSha: old.sha });
  const newest = await running(whorl, fresh);

  await until('the CI stops', () => ciState(whorl, ci) === 'canceling');
  whorl.ci.advance(ci, 'canceled');
  await old.shows('ci.yml', 'cancelled');
  const why = `Superseded by ${fresh.id}, a newer push to main.`;
  expect((await jobThat(old, 'it is cancelled', ({ status }) => status === 'cancelled')).error).toBe(why);
  const last = await whorl.sql`
    select status, error from statuses where pipeline = ${old.id} and job = 'ci.yml' and not resend order by id desc limit 1`;
  expect([...last]).toEqual([{ status: 'cancelled', error: why }]);

  await allSettled(whorl);
  expect([...(await commandsOf(whorl, old))]).toEqual([{ job: 'ci.yml', state: 'done' }]);
  for (const pushed of [other, tag, pull, fresh]) expect(await commandsOf(whorl, pushed)).toHaveLength(0);
  expect(ciState(whorl, lint)).toBe('running');
  whorl.ci.finish(lint, 'passed');
  whorl.ci.finish(newest, 'passed');
  await fresh.shows('ci.yml', 'success');
  const rows = await whorl.sql<{ id: string; tag: boolean; happened: boolean }[]>`
    select id, tag, happened_at is not null as happened from pipelines where id = any(${[old.id, tag.id]}::text[])
    order by tag`;
  expect([...rows]).toEqual([
    { id: old.id, tag: false, happened: true },
    { id: tag.id, tag: true, happened: true },
  ]);
});

test.concurrent('an older trigger that comes after the newer one is cancelled itself', async (context) => {
  const whorl = await ownSpindle(context, { durations: { cancelConfirm: 60_000 } });
  const fresh = whorl.push({ 'ci.yml': asks() });
  const newest = await running(whorl, fresh);
  const late = whorl.push({ 'ci.yml': asks() }, { rkey: tidAt(Date.now() - 60_000) });
  await until('it is cancelled', async () => (await commandsOf(whorl, late)).some(({ state }) => state === 'done'));
  await until('its build, if any, stops', () =>
    whorl.ci
      .builds()
      .filter(({ metaData }) => metaData['tack:pipeline_rkey'] === late.rkey)
      .every(({ state }) => state === 'canceling' || state === 'canceled'),
  );
  whorl.knot.replayAll();
  await allSettled(whorl);
  expect(await commandsOf(whorl, late)).toHaveLength(1);
  expect(await commandsOf(whorl, fresh)).toHaveLength(0);
  whorl.ci.finish(newest, 'passed');
  await fresh.shows('ci.yml', 'success');
});

test.concurrent('a process that dies before it has cancelled leaves it to the next one', async (context) => {
  const whorl = await ownSpindle(context, { durations: { cancelConfirm: 60_000 } });
  const old = whorl.push({ 'ci.yml': asks() });
  const ci = await running(whorl, old);
  // The statement that cancels fails, as when the process were gone: the trigger's row stays open.
  await whorl.sql`
    create function gone() returns trigger language plpgsql as $$ begin raise exception 'gone' using errcode = '57P01'; end $$`;
  await whorl.sql`create trigger gone before insert on commands for each statement execute function gone()`;
  const fresh = whorl.push({ 'ci.yml': asks() });
  await running(whorl, fresh);
  const tries = await until('dispatch has tried', async () => {
    const [row] = await whorl.sql<{ tries: number; state: string }[]>`
      select tries, state from triggers where rkey = ${fresh.rkey} and tries > 0`;
    return row;
  });
  expect(tries.state).toBe('new');
  await whorl.sql`drop trigger gone on commands`;
  await until('the CI stops', () => ciState(whorl, ci) === 'canceling');
  await allSettled(whorl);
  expect(await commandsOf(whorl, old)).toHaveLength(1);
  expect(whorl.ci.builds().filter(({ metaData }) => metaData['tack:pipeline_rkey'] === fresh.rkey)).toHaveLength(1);
});

test.concurrent('ten pushes in a row leave one build alive', async (context) => {
  const whorl = await ownSpindle(context);
  const pushes = Array.from({ length: 10 }, () => whorl.push({ 'ci.yml': asks() }));
  const last = pushes.at(-1);
  await allSettled(whorl);
  await until('all others stop', async () => {
    const rows = await whorl.sql<{ id: string }[]>`
      select pipeline as id from jobs where status is null or status in ('pending', 'running')`;
    return rows.length === 1 && rows[0]?.id === last?.id;
  });
  const alive = whorl.ci.builds().filter(({ state }) => !['canceling', 'canceled'].includes(state));
  expect(alive.map(({ metaData }) => metaData['tack:pipeline_rkey'])).toEqual([last?.rkey]);
});

test.concurrent('a workflow file that says it wrongly fails with what is allowed', async (context) => {
  const whorl = await ownSpindle(context);
  const pushed = whorl.push({
    'a.yml': 'tack: { fake: {} }\nwhorl: { supersede: sometimes }\n',
    'b.yml': 'tack: { fake: {} }\nwhorl: { supercede: true }\n',
    'c.yml': 'tack: { fake: {} }\nwhorl: yes please\n',
  });
  for (const job of ['a.yml', 'b.yml', 'c.yml']) await pushed.shows(job, 'failed');
  const rows = await whorl.sql<{ name: string; error: string }[]>`
    select name, error from jobs where pipeline = ${pushed.id} order by name`;
  expect(rows.map(({ error }) => error)).toEqual([
    'a.yml: whorl.supersede must be true or false, for example: whorl: { supersede: true }',
    'b.yml: "whorl:" has no key “supercede”; it may have: supersede',
    'c.yml: the "whorl:" block must be a mapping, for example: whorl: { supersede: true }',
  ]);
});
