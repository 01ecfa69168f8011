import { randomUUID } from 'node:crypto';
import { expect, test, vi } from 'vitest';
import { answer, loseAnswer } from '../../sim/buildkite/index.ts';
import { send, webhookOf } from '../support/ci.ts';
import {
  buildOf,
  buildsOf,
  failingActivity,
  isBound,
  isParked,
  jobThat,
  ownSpindle,
  parkedCauses,
  shown,
} from '../support/pipelines.ts';
import { buildkiteFile, type Pushed, type Spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 90_000 });

const oneFile = { 'ci.yml': buildkiteFile() };
const stopped = ['canceling', 'canceled'];

/** A pipeline whose one build is running, as the appview sees it too. */
async function running(whorl: Spindle): Promise<{ pushed: Pushed; id: string }> {
  const pushed = whorl.push(oneFile);
  const { id } = await buildOf(whorl, pushed);
  whorl.ci.advance(id, 'running');
  await pushed.shows('ci.yml', 'running');
  return { pushed, id };
}

/** The appview's end of a job, after the workflow has ended too, with no rule of the appview broken. */
async function end(whorl: Spindle, pushed: Pushed, status: string, job = 'ci.yml'): Promise<string[]> {
  await pushed.shows(job, status);
  await pushed.ended();
  expect(whorl.appview.problems).toEqual([]);
  return pushed.seen(job);
}

const state = ({ ci }: Spindle, id: string): string => ci.build(id).state;

const cancelRequested = ({ ci }: Spindle) =>
  until('a cancel at the CI', () => ci.requests.some(({ route }) => route === 'cancel'));

test.concurrent('a cancel while the CI has not answered the POST cancels the build that comes out of it', async (context) => {
  const whorl = await ownSpindle(context);
  const held = whorl.ci.hold({ route: 'create' }, 'answer');
  const pushed = whorl.push(oneFile);
  await held.arrived;
  expect(await whorl.command('cancel', pushed.id)).toEqual({ state: 'done', result: 'Cancelling ci.yml.' });
  await pushed.shows('ci.yml', 'cancelled');
  held.release();
  expect(await end(whorl, pushed, 'cancelled')).toEqual(['pending', 'cancelled']);
  const builds = buildsOf(whorl, pushed);
  expect(builds).toHaveLength(1);
  expect(stopped).toContain(builds[0]?.state);
});

test.concurrent('a cancel while the CI refuses every POST makes no build at all', async (context) => {
  const whorl = await ownSpindle(context);
  whorl.ci.onRequest({ route: 'create' }, answer(503), 'always');
  const pushed = whorl.push(oneFile);
  await failingActivity(pushed, 'create:ci.yml');
  await whorl.command('cancel', pushed.id);
  await pushed.shows('ci.yml', 'cancelled');
  whorl.ci.clearFaults();
  expect(await end(whorl, pushed, 'cancelled')).toEqual(['pending', 'cancelled']);
  expect(whorl.ci.builds()).toEqual([]);
});

test.concurrent('a cancel of a parked job ends it, and nothing is left that says parked', async (context) => {
  const whorl = await ownSpindle(context);
  whorl.ci.revokeToken(whorl.ci.token);
  const pushed = whorl.push(oneFile);
  await isParked(pushed);
  expect(await parkedCauses(pushed)).toEqual(['CredentialsRejected']);
  await whorl.command('cancel', pushed.id);
  await end(whorl, pushed, 'cancelled');
  expect(await parkedCauses(pushed)).toEqual([]);
  expect(await jobThat(pushed, 'cancelled', ({ status }) => status === 'cancelled')).toMatchObject({
    error: 'Cancelled by tester.',
  });
});

test.concurrent('a running build is cancelled when the CI says so', async (context) => {
  const whorl = await ownSpindle(context, { durations: { cancelConfirm: 60_000 } });
  const { pushed, id } = await running(whorl);
  await whorl.command('cancel', pushed.id);
  await until('the CI stops', () => state(whorl, id) === 'canceling');
  expect(pushed.seen('ci.yml')).toEqual(['pending', 'running']);
  whorl.ci.advance(id, 'canceled');
  expect(await end(whorl, pushed, 'cancelled')).toEqual(['pending', 'running', 'cancelled']);
});

test.concurrent('Temporal’s own cancel does the same', async (context) => {
  const whorl = await ownSpindle(context, { durations: { cancelConfirm: 60_000 } });
  const { pushed, id } = await running(whorl);
  await pushed.handle.cancel();
  await until('the CI stops', () => state(whorl, id) === 'canceling');
  whorl.ci.advance(id, 'canceled');
  expect(await end(whorl, pushed, 'cancelled')).toEqual(['pending', 'running', 'cancelled']);
});

test.concurrent('a cancel that the CI never confirms ends as cancelled all the same, and says so', async (context) => {
  const whorl = await ownSpindle(context, { durations: { cancelConfirm: 600 } });
  const { pushed, id } = await running(whorl);
  await whorl.command('cancel', pushed.id);
  await end(whorl, pushed, 'cancelled');
  expect(state(whorl, id)).toBe('canceling');
  const { error, by } = await jobThat(pushed, 'cancelled', ({ status }) => status === 'cancelled');
  expect({ error, by }).toEqual({ error: 'Cancelled by tester. The CI has not confirmed it.', by: 'self' });
});

test.concurrent('a cancel that the end has overtaken leaves the CI’s truth, and says so', async (context) => {
  const whorl = await ownSpindle(context);
  const { pushed, id } = await running(whorl);
  const held = whorl.ci.hold({ route: 'cancel' }, 'arrival');
  await whorl.command('cancel', pushed.id);
  await held.arrived;
  whorl.ci.finish(id, 'passed');
  held.release();
  expect(await end(whorl, pushed, 'success')).toEqual(['pending', 'running', 'success']);
  const { note } = await jobThat(pushed, 'success', ({ status }) => status === 'success');
  expect(note).toBe('cancel asked for by tester, but the build had already ended: success');
});

test.concurrent('a cancel that waits for the operator ends with the job', async (context) => {
  const whorl = await ownSpindle(context);
  const { pushed, id } = await running(whorl);
  whorl.ci.revokeToken(whorl.ci.token);
  await whorl.command('cancel', pushed.id);
  expect((await isParked(pushed)).parked).toContain('(cancel)');
  whorl.ci.finish(id, 'passed');
  expect(await end(whorl, pushed, 'success')).toEqual(['pending', 'running', 'success']);
  expect(await parkedCauses(pushed)).toEqual([]);
  const { note } = await jobThat(pushed, 'success', ({ status }) => status === 'success');
  expect(note).toBe('cancel asked for by tester, but the build had already ended: success');
});

test.concurrent('one job is cancelled and the other goes on; what has ended is not cancelled again', async (context) => {
  const whorl = await ownSpindle(context);
  const pushed = whorl.push({ 'a.yml': buildkiteFile(), 'b.yml': buildkiteFile('lint') });
  const a = await buildOf(whorl, pushed, 'a.yml');
  const b = await buildOf(whorl, pushed, 'b.yml');
  await isBound(pushed, 'a.yml');
  await whorl.command('cancel', pushed.id, 'a.yml');
  await until('the CI stops', () => state(whorl, a.id) === 'canceling');
  whorl.ci.advance(a.id, 'canceled');
  await pushed.shows('a.yml', 'cancelled');

  const again = await whorl.command('cancel', pushed.id, 'a.yml');
  expect(again).toEqual({ state: 'refused', result: 'a.yml has already ended.' });
  const other = await whorl.command('cancel', pushed.id, 'c.yml');
  expect(other).toEqual({ state: 'refused', result: 'This pipeline has no job c.yml. It has: a.yml, b.yml.' });

  whorl.ci.finish(b.id, 'passed');
  await end(whorl, pushed, 'success', 'b.yml');
  const late = await whorl.command('cancel', pushed.id);
  expect(late).toEqual({ state: 'refused', result: 'The pipeline has ended: there is nothing to cancel.' });
  expect(pushed.seen('a.yml').at(-1)).toBe('cancelled');
});

test.concurrent('a cancel of the pipeline cancels every job that has not ended', async (context) => {
  const whorl = await ownSpindle(context);
  const pushed = whorl.push({ 'a.yml': buildkiteFile(), 'b.yml': buildkiteFile('lint') });
  const ids = await Promise.all(['a.yml', 'b.yml'].map(async (job) => (await buildOf(whorl, pushed, job)).id));
  expect(await whorl.command('cancel', pushed.id)).toEqual({ state: 'done', result: 'Cancelling a.yml, b.yml.' });
  for (const id of ids) {
    await until('the CI stops', () => state(whorl, id) === 'canceling');
    whorl.ci.advance(id, 'canceled');
  }
  await pushed.shows('a.yml', 'cancelled');
  await end(whorl, pushed, 'cancelled', 'b.yml');
});

test.concurrent('a build that surfaces after a cancel, because its answer was lost, is cancelled by a sweep', async (context) => {
  const whorl = await ownSpindle(context, { durations: { looks: [60_000] }, buildkite: { indexLag: 'manual' } });
  whorl.ci.onRequest({ route: 'create' }, loseAnswer());
  const pushed = whorl.push(oneFile);
  const { id } = await buildOf(whorl, pushed);
  await failingActivity(pushed, 'create:ci.yml');
  await whorl.command('cancel', pushed.id);
  await pushed.shows('ci.yml', 'cancelled');
  expect(state(whorl, id)).toBe('scheduled');
  whorl.ci.reindex();
  await end(whorl, pushed, 'cancelled');
  expect(stopped).toContain(state(whorl, id));
  expect(buildsOf(whorl, pushed)).toHaveLength(1);
});

test.concurrent('a job that runs past its deadline is stopped at the CI and is a timeout', async (context) => {
  const whorl = await ownSpindle(context, { durations: { deadline: 3_000, cancelConfirm: 60_000 } });
  const { pushed, id } = await running(whorl);
  await cancelRequested(whorl);
  whorl.ci.advance(id, 'canceled');
  expect(await end(whorl, pushed, 'timeout')).toEqual(['pending', 'running', 'timeout']);

  // Also when the CI, which knows nothing of our deadline, is asked once more.
  const { runId } = await pushed.handle.describe();
  const late = { ...webhookOf(whorl, id, 'build.running'), requestId: randomUUID() };
  expect(await send(whorl, late)).toBe(200);
  await until('the pipeline is opened again', async () => (await pushed.handle.describe()).runId !== runId);
  expect(await pushed.ended()).toEqual({ 'ci.yml': 'timeout' });
  expect(await shown(whorl, pushed)).toEqual(['pending/1/0', 'running/1/0', 'timeout/1/0']);
});

test.concurrent('a deadline that the CI does not confirm is a timeout too', async (context) => {
  const whorl = await ownSpindle(context, { durations: { deadline: 500, cancelConfirm: 400 } });
  const pushed = whorl.push(oneFile);
  await end(whorl, pushed, 'timeout');
  expect(stopped).toContain((await buildOf(whorl, pushed)).state);
});
