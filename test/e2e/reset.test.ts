import { randomUUID } from 'node:crypto';
import type { WorkflowHandle } from '@temporalio/client';
import { expect, test, vi } from 'vitest';
import type { PipelineView } from '../../src/workflows/messages.ts';
import { digested, send, webhookOf } from '../support/ci.ts';
import {
  buildOf,
  buildsOf,
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
const passed = ['pending/1/0', 'running/1/0', 'success/1/0'];
type History = Awaited<ReturnType<WorkflowHandle['fetchHistory']>>;
type Event = NonNullable<History['events']>[number];

const runOf = async (pushed: Pushed): Promise<string> => (await pushed.handle.describe()).runId;

/** Where to reset to: the workflow task after the first of these events. */
const points = {
  'its start': (): boolean => true,
  'a point after its create': ({ activityTaskCompletedEventAttributes: done }: Event, events: Event[]): boolean => {
    const made = events.find((event) => event.activityTaskScheduledEventAttributes?.activityId === 'create:ci.yml');
    return done?.scheduledEventId !== undefined && String(done?.scheduledEventId) === String(made?.eventId);
  },
};

/** As a person does it in the Temporal UI. */
async function reset({ client }: Spindle, pushed: Pushed, to: keyof typeof points): Promise<void> {
  const runId = await runOf(pushed);
  const { events } = await client.workflow.getHandle(pushed.id, runId).fetchHistory();
  if (!events) throw new Error('the run has no history');
  const from = events.findIndex((event) => points[to](event, events));
  const task = events.slice(from).find((event) => event.workflowTaskCompletedEventAttributes);
  if (from < 0 || !task?.eventId) throw new Error(`there is no ${to} in the history`);
  const answer = await client.workflowService.resetWorkflowExecution({
    namespace: client.options.namespace,
    workflowExecution: { workflowId: pushed.id, runId },
    reason: 'a test',
    workflowTaskFinishEventId: task.eventId,
    requestId: randomUUID(),
  });
  expect(answer.runId).not.toBe(runId);
}

async function toRunning(whorl: Spindle): Promise<{ pushed: Pushed; id: string }> {
  const pushed = whorl.push(oneFile);
  const { id } = await buildOf(whorl, pushed);
  whorl.ci.advance(id, 'running');
  await pushed.shows('ci.yml', 'running');
  return { pushed, id };
}

async function toSuccess(whorl: Spindle): Promise<{ pushed: Pushed; id: string }> {
  const { pushed, id } = await toRunning(whorl);
  whorl.ci.finish(id, 'passed');
  await pushed.shows('ci.yml', 'success');
  await pushed.ended();
  return { pushed, id };
}

const posts = ({ ci }: Spindle): number => ci.requests.filter(({ route }) => route === 'create').length;

const everyPoint = ['its start', 'a point after its create'] as const;

test.concurrent.for(everyPoint)('a running pipeline that is reset to %s repeats nothing', async (point, context) => {
  const whorl = await ownSpindle(context);
  const { pushed, id } = await toRunning(whorl);
  await reset(whorl, pushed, point);
  await jobThat(pushed, 'the reset run knows the build', ({ build, status }) => build === id && status === 'running');
  whorl.ci.finish(id, 'passed');
  await pushed.shows('ci.yml', 'success');
  await pushed.ended();
  expect(await shown(whorl, pushed)).toEqual(passed);
  expect(posts(whorl)).toBe(1);
  expect(whorl.appview.problems).toEqual([]);
});

test.concurrent.for(everyPoint)(
  'an ended pipeline that is reset to %s ends again and repeats nothing',
  async (point, context) => {
    const whorl = await ownSpindle(context);
    const { pushed } = await toSuccess(whorl);
    await reset(whorl, pushed, point);
    expect(await pushed.ended()).toEqual({ 'ci.yml': 'success' });
    expect(await shown(whorl, pushed)).toEqual(passed);
    expect(posts(whorl)).toBe(1);
    expect(whorl.appview.problems).toEqual([]);
  },
);

test.concurrent('a pipeline that was opened again keeps its epoch over a reset', async (context) => {
  const whorl = await ownSpindle(context, { appview: { reopenings: true } });
  const { pushed } = await toSuccess(whorl);
  await whorl.command('rerun', pushed.id);
  whorl.ci.finish((await buildOf(whorl, pushed, 'ci.yml', 2)).id, 'failed');
  await pushed.shows('ci.yml', 'failed');
  await pushed.ended();
  const before = await shown(whorl, pushed);

  await reset(whorl, pushed, 'its start');
  expect(await pushed.ended()).toEqual({ 'ci.yml': 'failed' });
  expect(await pushed.handle.query<PipelineView>('state')).toMatchObject({
    epoch: 1,
    jobs: [{ attempt: 2, status: 'failed' }],
  });
  expect(await shown(whorl, pushed)).toEqual(before);
  expect(posts(whorl)).toBe(2);
  expect(whorl.appview.problems).toEqual([]);
});

test.concurrent('a run whose epoch another run has claimed ends at once and says nothing', async (context) => {
  const whorl = await ownSpindle(context, { appview: { reopenings: true } });
  const { pushed } = await toSuccess(whorl);
  await whorl.command('rerun', pushed.id);
  whorl.ci.finish((await buildOf(whorl, pushed, 'ci.yml', 2)).id, 'passed');
  await jobThat(pushed, 'the rerun passes', ({ attempt, status }) => attempt === 2 && status === 'success');
  await pushed.ended();
  const before = await shown(whorl, pushed);

  const { durations, taskQueue } = whorl.config;
  const input = { pipeline: pushed.id, epoch: 1, jobs: [{ name: 'ci.yml' }], durations };
  const late = await whorl.client.workflow.start('pipeline', { workflowId: pushed.id, taskQueue, args: [input] });
  expect(await late.result()).toEqual({});
  expect(await shown(whorl, pushed)).toEqual(before);
  expect(posts(whorl)).toBe(2);
});

/** Tells the workflow so much that it has to go on in a new run. */
async function fillHistory(whorl: Spindle, pushed: Pushed, build: string): Promise<void> {
  const first = await runOf(pushed);
  await until('a new run', async () => {
    await send(whorl, { ...webhookOf(whorl, build, 'build.running'), requestId: randomUUID() });
    await digested(whorl);
    return (await runOf(pushed)) !== first;
  });
}

test.concurrent('a pipeline with more webhooks than one history should hold continues as new and ends right', async (context) => {
  const whorl = await ownSpindle(context, { durations: { maxEvents: 60 } });
  const { pushed, id } = await toRunning(whorl);
  await fillHistory(whorl, pushed, id);
  await fillHistory(whorl, pushed, id);
  whorl.ci.finish(id, 'passed');
  await pushed.shows('ci.yml', 'success');
  expect(await pushed.handle.result()).toEqual({ 'ci.yml': 'success' });
  expect(await shown(whorl, pushed)).toEqual(passed);
  expect(posts(whorl)).toBe(1);
  expect(whorl.appview.problems).toEqual([]);
});

test.concurrent('a parked job stays parked when its pipeline continues as new', async (context) => {
  const whorl = await ownSpindle(context, { durations: { maxEvents: 60 } });
  const pushed = whorl.push({ ...oneFile, 'late.yml': buildkiteFile('made-later') });
  const { id } = await buildOf(whorl, pushed);
  whorl.ci.advance(id, 'running');
  const { parked } = await isParked(pushed, 'late.yml');
  await isBound(pushed);
  await fillHistory(whorl, pushed, id);
  expect((await isParked(pushed, 'late.yml')).parked).toBe(parked);
  expect(await parkedCauses(pushed)).toEqual(['TargetMissing']);
  whorl.ci.finish(id, 'passed');
  await pushed.shows('ci.yml', 'success');

  const tries = posts(whorl);
  whorl.ci.pipeline('acme/made-later');
  await whorl.command('retry', pushed.id, 'late.yml');
  whorl.ci.finish((await buildOf(whorl, pushed, 'late.yml')).id, 'passed');
  await pushed.shows('late.yml', 'success');
  expect(await pushed.handle.result()).toEqual({ 'ci.yml': 'success', 'late.yml': 'success' });
  expect(posts(whorl)).toBe(tries + 1);
  expect(await parkedCauses(pushed)).toEqual([]);
  // the second one has the reason
  expect(await shown(whorl, pushed, 'late.yml')).toEqual(['pending/1/0', 'pending/1/0', 'success/1/0']);
  expect(buildsOf(whorl, pushed, 'late.yml')).toHaveLength(1);
  expect(whorl.appview.problems).toEqual([]);
});
