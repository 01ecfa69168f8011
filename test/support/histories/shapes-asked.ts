import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { answer, lose, loseAnswer } from '../../../sim/buildkite/index.ts';
import type { Role } from '../../../src/roles/role.ts';
import { boundTo, byHand, digested, send, webhookOf } from '../ci.ts';
import { failingActivity, isParked } from '../pipelines.ts';
import type { Pushed, Spindle } from '../spindle.ts';
import { until } from '../until.ts';
import { built, passes, type Shape, toFailed, toRunning, twoFiles } from './shape.ts';

const reopenings = { appview: { reopenings: true } };

const workers = new WeakMap<Spindle, Role>();

/** Pipelines of which a person asks something, of us, of the CI or of Temporal; and those whose build was in doubt. */
export const askedShapes: readonly Shape[] = [
  {
    name: 'parked-and-retried',
    prepare: ({ ci }) => ci.removePipeline('acme', 'app'),
    async live(whorl, pushed) {
      await isParked(pushed);
      whorl.ci.pipeline('acme/app');
      await whorl.command('retry', pushed.id);
      await passes(whorl, pushed);
    },
    has: ['failed create:ci.yml', 'upsert_workflow_search_attributes', 'update retryStep'],
  },
  {
    name: 'cancelled',
    async live(whorl, pushed) {
      const id = await toRunning(whorl, pushed);
      await whorl.command('cancel', pushed.id);
      whorl.ci.finish(id, 'canceled');
    },
    has: ['update cancel', 'cancel:ci.yml'],
  },
  {
    name: 'cancelled-before-its-build',
    prepare: ({ ci }) => ci.onRequest({ route: 'create' }, answer(503), 'always'),
    async live(whorl, pushed) {
      await failingActivity(pushed, 'create:ci.yml');
      await whorl.command('cancel', pushed.id);
      await pushed.shows('ci.yml', 'cancelled');
      whorl.ci.clearFaults();
    },
    has: ['update cancel', 'cancel:ci.yml', 'activity_task_cancel_requested'],
  },
  {
    name: 'cancelled-while-parked',
    prepare: ({ ci }) => ci.removePipeline('acme', 'app'),
    async live(whorl, pushed) {
      await isParked(pushed);
      await whorl.command('cancel', pushed.id);
      await pushed.shows('ci.yml', 'cancelled');
    },
    has: ['update cancel', 'failed create:ci.yml', 'upsert_workflow_search_attributes'],
  },
  {
    name: 'cancelled-too-late',
    async live(whorl, pushed) {
      const id = await toRunning(whorl, pushed);
      const held = whorl.ci.hold({ route: 'cancel' }, 'arrival');
      await whorl.command('cancel', pushed.id);
      await held.arrived;
      whorl.ci.finish(id, 'passed');
      held.release();
      await pushed.shows('ci.yml', 'success');
    },
    has: ['update cancel', 'cancel:ci.yml'],
  },
  {
    name: 'cancelled-unconfirmed',
    options: { durations: { cancelConfirm: 600 } },
    async live(whorl, pushed) {
      await toRunning(whorl, pushed);
      await whorl.command('cancel', pushed.id);
      await pushed.shows('ci.yml', 'cancelled');
    },
    has: ['update cancel', 'cancel:ci.yml', 'read:0.1', 'timer_fired'],
  },
  {
    name: 'cancelled-in-temporal',
    async live(whorl, pushed) {
      const id = await toRunning(whorl, pushed);
      await pushed.handle.cancel();
      await whorl.ci.until(() => whorl.ci.build(id).state === 'canceling', 'the CI is asked to stop');
      whorl.ci.advance(id, 'canceled');
    },
    has: ['workflow_execution_cancel_requested', 'cancel:ci.yml', 'workflow_execution_completed'],
  },
  {
    name: 'rerun-of-one-job',
    options: reopenings,
    files: twoFiles,
    async live(whorl, pushed) {
      await toFailed(whorl, pushed, 'a.yml');
      await whorl.command('rerun', pushed.id, 'a.yml');
      await passes(whorl, pushed, 'a.yml', 2);
      await passes(whorl, pushed, 'b.yml');
    },
    has: ['update rerun', 'create:a.yml#2'],
  },
  {
    name: 'opened-again',
    options: reopenings,
    async live(whorl, pushed) {
      await toFailed(whorl, pushed);
      await pushed.ended();
      await whorl.command('rerun', pushed.id);
      await passes(whorl, pushed, 'ci.yml', 2);
    },
    has: ['reopen', 'update rerun', 'create:ci.yml#2'],
  },
  {
    name: 'opened-again-by-the-ci',
    options: reopenings,
    async live(whorl, pushed) {
      const id = await toFailed(whorl, pushed);
      await pushed.ended();
      whorl.ci.retryJob(id);
      whorl.ci.advance(id, 'running');
      await pushed.shows('ci.yml', 'running');
      await passes(whorl, pushed);
    },
    has: ['reopen', 'read:1.1', 'signal notices'],
  },
  {
    name: 'opened-twice',
    options: reopenings,
    async live(whorl, pushed) {
      await toFailed(whorl, pushed);
      await pushed.ended();
      await whorl.command('rerun', pushed.id);
      await passes(whorl, pushed, 'ci.yml', 2);
      await pushed.ended();
      // As a start that was lost on its way, and comes after another run has claimed its epoch.
      const { durations, taskQueue } = whorl.config;
      const input = { pipeline: pushed.id, epoch: 1, jobs: [{ name: 'ci.yml' }], durations };
      await whorl.client.workflow.start('pipeline', { workflowId: pushed.id, taskQueue, args: [input] });
    },
    has: ['reopen'],
  },
  {
    name: 'rebuilt-in-the-ci',
    options: reopenings,
    async live(whorl, pushed) {
      const id = await toFailed(whorl, pushed);
      const again = whorl.ci.rebuild(id);
      await until('the rebuild is ours', async () => (await boundTo(whorl, pushed, 2)) === again.id);
      whorl.ci.advance(again.id, 'running');
      await pushed.shows('ci.yml', 'running');
      whorl.ci.finish(again.id, 'passed');
      await pushed.shows('ci.yml', 'success');
    },
    has: ['adopt:ci.yml#2'],
  },
  {
    name: 'rebuilt-before-it-was-opened-again',
    options: { ...reopenings, roles: ['server', 'ingest'] },
    async prepare(whorl) {
      workers.set(whorl, await whorl.start('worker'));
    },
    async live(whorl, pushed) {
      const id = await toFailed(whorl, pushed);
      await pushed.ended();
      await workers.get(whorl)?.stop();
      whorl.ci.finish(whorl.ci.rebuild(id).id, 'passed');
      await until(
        'all was told',
        async () => (await whorl.sql`select from deliveries where event = 'build.finished'`)[1],
      );
      await digested(whorl);
      await whorl.start('worker');
      await pushed.shows('ci.yml', 'success');
    },
    has: ['reopen', 'adopt:ci.yml#2'],
  },
  {
    name: 'earlier-build-told-late',
    async live(whorl, pushed) {
      const id = await toRunning(whorl, pushed);
      byHand(whorl, pushed.sha);
      whorl.ci.finish(id, 'failed');
      const again = whorl.ci.rebuild(id);
      whorl.ci.advance(again.id, 'running');
      await send(whorl, webhookOf(whorl, again.id, 'build.running'));
      await until('the rebuild is ours', async () => (await boundTo(whorl, pushed, 2)) === again.id);
      whorl.ci.finish(again.id, 'passed');
      await send(whorl, webhookOf(whorl, again.id, 'build.finished'));
      await pushed.shows('ci.yml', 'success');
      await pushed.ended();
      await send(whorl, webhookOf(whorl, id, 'build.finished'));
      await digested(whorl);
    },
    has: ['adopt:ci.yml#2', 'reopen', 'read:1.1', 'marker_recorded', 'timer_fired'],
  },
  {
    name: 'lost-answer',
    options: { buildkite: { indexLag: 'manual' }, durations: { looks: [100, 100], sweeps: [200, 2_000] } },
    prepare({ ci }) {
      ci.onRequest({ route: 'create' }, loseAnswer());
      // Else the build that it tells of would be looked at.
      ci.onWebhook({}, lose());
    },
    async live(whorl, pushed) {
      const first = await built(whorl, pushed);
      const bound = await boundTo(whorl, pushed);
      whorl.ci.reindex();
      await whorl.ci.until(() => whorl.ci.build(first.id).state === 'canceling', 'the extra build is stopped');
      whorl.ci.finish(first.id, 'canceled');
      whorl.ci.finish(bound, 'passed');
      await pushed.shows('ci.yml', 'success');
    },
    has: ['retried create:ci.yml', 'sweep:ci.yml:1', 'sweep:ci.yml:0'],
  },
  {
    name: 'searched-while-parked',
    options: { buildkite: { indexLag: 'manual' }, durations: { looks: [100, 100], sweeps: [400, 700, 1_000] } },
    prepare({ ci }) {
      ci.onRequest({ route: 'create' }, loseAnswer());
      ci.onWebhook({}, lose());
    },
    async live(whorl, pushed) {
      const { ci, command } = whorl;
      const first = await built(whorl, pushed);
      const bound = await boundTo(whorl, pushed);
      ci.revokeToken(ci.token);
      await isParked(pushed);
      // Until the others are due, and wait with it.
      await delay(2_000);
      ci.addToken({ token: ci.token });
      ci.reindex();
      await command('retry', pushed.id);
      await ci.until(() => ci.build(first.id).state === 'canceling', 'the extra build is stopped');
      ci.finish(first.id, 'canceled');
      ci.finish(bound, 'passed');
      await pushed.shows('ci.yml', 'success');
    },
    has: ['sweep:ci.yml:2', 'failed sweep:ci.yml:2', 'sweep:ci.yml:1', 'sweep:ci.yml:0', 'marker_recorded'],
  },
  {
    name: 'lost-answer-found',
    options: { durations: { looks: [30_000], searchGrace: 100, createTimeout: 3_000 } },
    prepare: ({ ci }) => ci.onRequest({ route: 'create' }, loseAnswer()),
    async live(whorl, pushed) {
      const { id } = await built(whorl, pushed);
      // The webhook of a build that nobody knows makes the workflow look for it.
      await until('it is found', async () => (await boundTo(whorl, pushed)) === id);
      await passes(whorl, pushed);
      await skipWait(whorl, pushed, 'create:ci.yml');
    },
    has: ['search:ci.yml'],
  },
  {
    name: 'reset',
    async live(whorl, pushed) {
      const id = await toRunning(whorl, pushed);
      await resetToStart(whorl, pushed);
      whorl.ci.finish(id, 'passed');
      await pushed.shows('ci.yml', 'success');
    },
    has: ['workflow_execution_terminated', 'workflow_task_failed', 'workflow_execution_completed'],
  },
];

/** As a person does in the Temporal UI to a step that waits for its next attempt. */
const skipWait = ({ client }: Spindle, pushed: Pushed, id: string): Promise<unknown> =>
  client.workflowService.resetActivity({
    namespace: client.options.namespace,
    execution: { workflowId: pushed.id },
    identity: 'a person',
    id,
  });

/** As a person does in the Temporal UI to a workflow that went wrong. */
async function resetToStart({ client }: Spindle, pushed: Pushed): Promise<void> {
  const { runId } = await pushed.handle.describe();
  const { events } = await client.workflow.getHandle(pushed.id, runId).fetchHistory();
  const task = events?.find((event) => event.workflowTaskCompletedEventAttributes);
  if (!task?.eventId) throw new Error('no workflow task has completed');
  await client.workflowService.resetWorkflowExecution({
    namespace: client.options.namespace,
    workflowExecution: { workflowId: pushed.id, runId },
    reason: 'a recording',
    workflowTaskFinishEventId: task.eventId,
    requestId: randomUUID(),
  });
}
