import { randomUUID } from 'node:crypto';
import { expect, test, vi } from 'vitest';
import { lose } from '../../sim/buildkite/index.ts';
import { commandResult, insertCommand } from '../../src/store/commands.ts';
import type { PipelineView } from '../../src/workflows/messages.ts';
import { byHand, digested, send, webhookOf } from '../support/ci.ts';
import { buildOf, buildsOf, isBound, jobThat, ownSpindle, shown } from '../support/pipelines.ts';
import { buildkiteFile, type Pushed, type Spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 90_000 });

const oneFile = { 'ci.yml': buildkiteFile() };
/** Statuses go down here on purpose. */
const reopenings = { appview: { reopenings: true } };

/** A pipeline of one job that has ended so, with its workflow closed. */
async function ended(
  whorl: Spindle,
  result: 'passed' | 'failed',
): Promise<{ pushed: Pushed; id: string; runId: string }> {
  const pushed = whorl.push(oneFile);
  const { id } = await buildOf(whorl, pushed);
  await isBound(pushed);
  whorl.ci.finish(id, result);
  await pushed.shows('ci.yml', result === 'passed' ? 'success' : 'failed');
  await pushed.ended();
  return { pushed, id, runId: await runOf(pushed) };
}

const runOf = async (pushed: Pushed): Promise<string> => (await pushed.handle.describe()).runId;

/** The workflow was opened again, and this run of it has ended too. */
async function endedAgain(pushed: Pushed, before: string): Promise<PipelineView> {
  await until('the workflow runs again', async () => (await runOf(pushed)) !== before);
  await pushed.ended();
  return pushed.handle.query<PipelineView>('state');
}

/** As another request of the CI, so that it is not the same delivery. */
const sendAgain = (whorl: Spindle, build: string, event: 'build.running' | 'build.finished'): Promise<number> =>
  send(whorl, { ...webhookOf(whorl, build, event), requestId: randomUUID() });

test.concurrent('an ended job is run again while another still runs', async (context) => {
  const whorl = await ownSpindle(context, reopenings);
  const pushed = whorl.push({ 'a.yml': buildkiteFile(), 'b.yml': buildkiteFile('lint') });
  const b = await buildOf(whorl, pushed, 'b.yml');
  whorl.ci.advance(b.id, 'running');
  whorl.ci.finish((await buildOf(whorl, pushed, 'a.yml')).id, 'failed');
  await pushed.shows('a.yml', 'failed');

  const early = await whorl.command('rerun', pushed.id, 'b.yml');
  expect(early).toMatchObject({ state: 'refused', result: expect.stringMatching(/^b\.yml .*has not ended/) });
  expect(await whorl.command('rerun', pushed.id)).toEqual({ state: 'done', result: 'a.yml: attempt 2' });
  await pushed.shows('a.yml', 'pending');
  const second = await buildOf(whorl, pushed, 'a.yml', 2);
  whorl.ci.finish(second.id, 'passed');
  await pushed.shows('a.yml', 'success');
  whorl.ci.finish(b.id, 'passed');
  await pushed.shows('b.yml', 'success');
  await pushed.ended();

  expect(await shown(whorl, pushed, 'a.yml')).toEqual(['pending/1/0', 'failed/1/0', 'pending/2/0', 'success/2/0']);
  expect(buildsOf(whorl, pushed, 'b.yml')).toHaveLength(1);
  expect(whorl.appview.problems).toEqual([]);
});

test.concurrent('a rerun after the end opens the pipeline again, for one new build', async (context) => {
  const whorl = await ownSpindle(context, reopenings);
  const { pushed, runId } = await ended(whorl, 'failed');
  expect(await whorl.command('rerun', pushed.id, 'ci.yml')).toEqual({ state: 'done', result: 'ci.yml: attempt 2' });
  const { id } = await buildOf(whorl, pushed, 'ci.yml', 2);
  await pushed.shows('ci.yml', 'pending');
  whorl.ci.advance(id, 'running');
  await pushed.shows('ci.yml', 'running');
  whorl.ci.finish(id, 'passed');
  await pushed.shows('ci.yml', 'success');

  const view = await endedAgain(pushed, runId);
  expect(view).toMatchObject({ epoch: 1, jobs: [{ attempt: 2, status: 'success', build: id }] });
  expect(pushed.seen('ci.yml')).toEqual(['pending', 'failed', 'pending', 'running', 'success']);
  expect(buildsOf(whorl, pushed)).toHaveLength(2);
  expect(whorl.appview.problems).toEqual([]);
});

test.concurrent('a rerun that is carried twice makes one attempt, while it runs and after it has ended', async (context) => {
  const whorl = await ownSpindle(context, reopenings);
  const { pushed, runId } = await ended(whorl, 'failed');
  const id = randomUUID();
  const command = { id, pipeline: pushed.id, kind: 'rerun', by: 'tester' } as const;
  const result = () =>
    until('the rerun is carried out', async () => {
      const found = await commandResult(whorl.sql, id);
      return found?.state === 'new' ? undefined : found;
    });
  /** As after a crash of dispatch before it noted the answer. */
  const again = async () => {
    await whorl.sql`update commands set state = 'new', due_at = clock_timestamp() where id = ${id}`;
    await whorl.sql`select pg_notify('inbox', share || ' commands') from commands where id = ${id}`;
    return result();
  };

  await insertCommand(whorl.sql, command);
  await insertCommand(whorl.sql, command);
  expect(await result()).toEqual({ state: 'done', result: 'ci.yml: attempt 2' });
  const second = await buildOf(whorl, pushed, 'ci.yml', 2);
  expect(await again()).toMatchObject({ state: 'done' });
  whorl.ci.finish(second.id, 'passed');
  await pushed.shows('ci.yml', 'success');
  await endedAgain(pushed, runId);
  expect(await again()).toMatchObject({ state: 'done' });

  const [row] = await whorl.sql<
    [{ attempts: number }]
  >`select count(*)::int as attempts from attempts where pipeline = ${pushed.id}`;
  expect(row.attempts).toBe(2);
  expect(buildsOf(whorl, pushed)).toHaveLength(2);
});

test.concurrent('a job that is retried inside the CI after the end opens the pipeline again', async (context) => {
  const whorl = await ownSpindle(context, reopenings);
  const { pushed, id, runId } = await ended(whorl, 'failed');
  whorl.ci.retryJob(id);
  whorl.ci.advance(id, 'running');
  await pushed.shows('ci.yml', 'running');
  whorl.ci.finish(id, 'passed');
  await pushed.shows('ci.yml', 'success');

  expect(await endedAgain(pushed, runId)).toMatchObject({
    epoch: 1,
    jobs: [{ attempt: 1, status: 'success', build: id }],
  });
  expect(await shown(whorl, pushed)).toEqual(['pending/1/0', 'failed/1/0', 'running/1/1', 'success/1/1']);
  expect(buildsOf(whorl, pushed)).toHaveLength(1);
  expect(whorl.appview.problems).toEqual([]);
});

test.concurrent('the last webhook of a retry is enough', async (context) => {
  const whorl = await ownSpindle(context, reopenings);
  const { pushed, id, runId } = await ended(whorl, 'failed');
  // finish times of webhooks are whole seconds
  await until('another second', () => Date.now() - (whorl.ci.build(id).finishedAt ?? 0) > 1_100);
  whorl.ci.onWebhook({ where: ({ event }) => event !== 'build.finished' }, lose(), 'always');
  whorl.ci.retryJob(id);
  whorl.ci.finish(id, 'passed');
  await pushed.shows('ci.yml', 'success');
  expect(await endedAgain(pushed, runId)).toMatchObject({ jobs: [{ attempt: 1, status: 'success' }] });
  expect(pushed.seen('ci.yml')).toEqual(['pending', 'failed', 'success']);
  expect(whorl.appview.problems).toEqual([]);
});

test.concurrent('webhooks that come once more after the end change nothing that anybody sees', async (context) => {
  const whorl = await ownSpindle(context);
  const pushed = whorl.push(oneFile);
  const { id } = await buildOf(whorl, pushed);
  whorl.ci.advance(id, 'running');
  await pushed.shows('ci.yml', 'running');
  whorl.ci.finish(id, 'passed');
  await pushed.shows('ci.yml', 'success');
  await pushed.ended();
  const before = await shown(whorl, pushed);
  const runId = await runOf(pushed);

  expect(await sendAgain(whorl, id, 'build.finished')).toBe(200);
  await digested(whorl);
  expect(await runOf(pushed)).toBe(runId);

  // This one says that the build goes on, so the CI is asked: it does not.
  expect(await sendAgain(whorl, id, 'build.running')).toBe(200);
  await digested(whorl);
  expect(await endedAgain(pushed, runId)).toMatchObject({ jobs: [{ status: 'success', epoch: 0 }] });
  expect(await shown(whorl, pushed)).toEqual(before);
  expect(whorl.appview.problems).toEqual([]);
});

test.concurrent('a rebuild that is over before the pipeline is opened again is taken over', async (context) => {
  const whorl = await ownSpindle(context, { ...reopenings, roles: ['server', 'ingest'] });
  const worker = await whorl.start('worker');
  const { pushed, id, runId } = await ended(whorl, 'failed');
  await worker.stop();
  const again = whorl.ci.rebuild(id);
  whorl.ci.finish(again.id, 'passed');
  await until('it was told', () => webhookOf(whorl, again.id, 'build.finished'));
  await digested(whorl);
  await whorl.start('worker');
  await pushed.shows('ci.yml', 'success');
  expect(await endedAgain(pushed, runId)).toMatchObject({ jobs: [{ attempt: 2, status: 'success', build: again.id }] });
  expect(whorl.appview.problems).toEqual([]);
});

test.concurrent('what an earlier build did, when told after the end, opens the pipeline again, and not for ever', async (context) => {
  const whorl = await ownSpindle(context);
  const pushed = whorl.push(oneFile);
  const { id } = await buildOf(whorl, pushed);
  whorl.ci.advance(id, 'running');
  await pushed.shows('ci.yml', 'running');
  byHand(whorl, pushed.sha);
  whorl.ci.finish(id, 'failed');
  const again = whorl.ci.rebuild(id);
  whorl.ci.advance(again.id, 'running');
  await send(whorl, webhookOf(whorl, again.id, 'build.running'));
  await jobThat(pushed, 'the rebuild is adopted', ({ build }) => build === again.id);
  whorl.ci.finish(again.id, 'passed');
  await send(whorl, webhookOf(whorl, again.id, 'build.finished'));
  await pushed.shows('ci.yml', 'success');
  await pushed.ended();
  const before = await shown(whorl, pushed);
  const runId = await runOf(pushed);

  await send(whorl, webhookOf(whorl, id, 'build.finished'));
  await digested(whorl);
  expect(await endedAgain(pushed, runId)).toMatchObject({ jobs: [{ status: 'success', attempt: 2, build: again.id }] });
  expect(await shown(whorl, pushed)).toEqual(before);
  expect(whorl.appview.problems).toEqual([]);
});

test.concurrent('a job that is retried inside the CI while the pipeline is open runs again and ends anew', async (context) => {
  const whorl = await ownSpindle(context, reopenings);
  const pushed = whorl.push({ 'a.yml': buildkiteFile(), 'b.yml': buildkiteFile('lint') });
  const [a, b] = [await buildOf(whorl, pushed, 'a.yml'), await buildOf(whorl, pushed, 'b.yml')];
  await isBound(pushed, 'a.yml');
  whorl.ci.finish(a.id, 'failed');
  await pushed.shows('a.yml', 'failed');
  whorl.ci.retryJob(a.id);
  whorl.ci.advance(a.id, 'running');
  await pushed.shows('a.yml', 'running');
  await jobThat(pushed, 'a new epoch', ({ epoch }) => epoch === 1, 'a.yml');
  whorl.ci.finish(a.id, 'passed');
  await pushed.shows('a.yml', 'success');
  whorl.ci.finish(b.id, 'passed');
  await pushed.shows('b.yml', 'success');
  await pushed.ended();
  expect(await shown(whorl, pushed, 'a.yml')).toEqual(['pending/1/0', 'failed/1/0', 'running/1/1', 'success/1/1']);
  expect(whorl.ci.builds()).toHaveLength(2);
  expect(whorl.appview.problems).toEqual([]);
});
