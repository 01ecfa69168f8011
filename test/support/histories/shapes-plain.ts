import { answer, lose, rateLimited } from '../../../sim/buildkite/index.ts';
import { followLog, logUrl } from '../../../sim/appview/log-reader.ts';
import { failingActivity, isParked } from '../pipelines.ts';
import { buildkiteFile } from '../spindle.ts';
import { built, passes, type Shape, toFailed, toRunning, twoFiles } from './shape.ts';

/** Pipelines to which nobody does anything, with the troubles that a network and a CI have. */
export const plainShapes: readonly Shape[] = [
  {
    name: 'one-job',
    async live(whorl, pushed) {
      await toRunning(whorl, pushed);
      await passes(whorl, pushed);
    },
    has: ['create:ci.yml', 'publish:0.1', 'signal notices', 'logs:ci.yml', 'workflow_execution_completed'],
  },
  {
    name: 'three-jobs',
    files: { ...twoFiles, 'c.yml': 'steps: []' },
    async live(whorl, pushed) {
      for (const job of ['a.yml', 'b.yml']) await passes(whorl, pushed, job);
    },
    has: ['create:a.yml', 'create:b.yml', 'workflow_execution_completed'],
  },
  {
    name: 'three-builds',
    files: { ...twoFiles, 'c.yml': buildkiteFile('whorl-demo') },
    live: (whorl, pushed) => Promise.all(['a.yml', 'b.yml', 'c.yml'].map((job) => passes(whorl, pushed, job))),
    has: ['create:a.yml', 'create:b.yml', 'create:c.yml'],
  },
  {
    name: 'refused-beside-good',
    files: { 'torn.yml': 'tack: [unclosed\n  - {', 'ci.yml': buildkiteFile() },
    async live(whorl, pushed) {
      await pushed.shows('torn.yml', 'failed');
      await passes(whorl, pushed);
    },
    has: ['create:ci.yml', 'workflow_execution_completed'],
  },
  {
    name: 'early-webhook',
    prepare: ({ ci }) => ci.onRequest({ route: 'create' }, ci.afterWebhooks('build.running', 'build.finished')),
    async live(whorl, pushed) {
      const { id } = await built(whorl, pushed);
      whorl.ci.advance(id, 'running');
      whorl.ci.finish(id, 'passed');
    },
    has: ['create:ci.yml', 'signal notices'],
  },
  {
    name: 'silence',
    options: { durations: { silence: 300 } },
    prepare: ({ ci }) => ci.onWebhook({}, lose(), 'always'),
    live: passes,
    has: ['read:0.1', 'timer_fired'],
  },
  {
    name: 'polled',
    files: { 'fake.yml': 'tack:\n  fake: { delay: 300ms }\n' },
    live: (_whorl, pushed) => pushed.shows('fake.yml', 'success'),
    has: ['create:fake.yml', 'read:0.1'],
  },
  {
    name: 'timed-out',
    async live(whorl, pushed) {
      const id = await toRunning(whorl, pushed);
      whorl.ci.finish(id, 'failed', { jobs: { build: 'timed_out' } });
      await pushed.shows('ci.yml', 'timeout');
    },
    has: ['read:0.1'],
  },
  {
    name: 'retried-after-5xx',
    prepare: ({ ci }) => ci.onRequest({ route: 'create' }, answer(503), 2),
    live: passes,
    has: ['retried create:ci.yml'],
  },
  {
    name: 'retried-after-429',
    prepare: ({ ci }) => ci.onRequest({ route: 'create' }, rateLimited(1), 2),
    live: passes,
    has: ['retried create:ci.yml'],
  },
  {
    name: 'retried-publish',
    prepare: ({ sql }) => sql`alter table statuses rename to statuses_away`,
    async live(whorl, pushed) {
      await failingActivity(pushed, 'publish:0.1');
      await whorl.sql`alter table statuses_away rename to statuses`;
      await passes(whorl, pushed);
    },
    has: ['retried publish:0.1'],
  },
  {
    name: 'parked-to-its-limit',
    options: { durations: { parkLimit: 1_000 } },
    prepare: ({ ci }) => ci.removePipeline('acme', 'app'),
    live: (_whorl, pushed) => pushed.shows('ci.yml', 'failed'),
    has: ['failed create:ci.yml', 'upsert_workflow_search_attributes', 'timer_fired'],
  },
  {
    name: 'deadline',
    options: { durations: { deadline: 1_500, cancelConfirm: 60_000 } },
    async live(whorl, pushed) {
      const id = await toRunning(whorl, pushed);
      await whorl.ci.until(() => whorl.ci.build(id).state === 'canceling', 'the CI is asked to stop');
      whorl.ci.advance(id, 'canceled');
      await pushed.shows('ci.yml', 'timeout');
    },
    has: ['cancel:ci.yml', 'timer_fired'],
  },
  {
    name: 'followed',
    async live(whorl, pushed) {
      const id = await toRunning(whorl, pushed);
      const reader = followLog(logUrl(whorl.url, whorl.knot.host, pushed.rkey, 'ci.yml'));
      whorl.ci.appendLog(id, whorl.ci.build(id).jobs[0]?.id ?? '', 'a line\r\n');
      await reader.wait(({ lineCount }) => lineCount > 0);
      whorl.ci.finish(id, 'passed');
      await reader.ended();
    },
    has: ['signal watch', 'follow:ci.yml.1', 'activity_task_cancel_requested'],
  },
  {
    name: 'steps-told',
    options: { events: ['build.running', 'build.finished', 'job.started', 'job.finished'] },
    async live(whorl, pushed) {
      const id = await toRunning(whorl, pushed);
      const job = whorl.ci.build(id).jobs[0]?.id ?? '';
      whorl.ci.moveJob(id, job, 'running');
      whorl.ci.moveJob(id, job, 'passed');
      await whorl.ci.until(() => whorl.ci.requests.some(({ route }) => route === 'log'), 'the log is read');
      await passes(whorl, pushed);
    },
    has: ['follow:ci.yml.1'],
  },
  {
    name: 'log-refused',
    prepare: ({ ci }) => ci.onRequest({ route: 'log' }, answer(403), 'always'),
    live: passes,
    has: ['failed logs:ci.yml'],
  },
  {
    name: 'continued-as-new',
    options: { durations: { maxEvents: 20, resend: 1_500 } },
    async live(whorl, pushed) {
      await toRunning(whorl, pushed);
      await passes(whorl, pushed);
    },
    has: ['workflow_execution_continued_as_new', 'workflow_execution_completed'],
  },
  {
    name: 'continued-while-parked',
    options: { durations: { maxEvents: 20 } },
    files: { 'ci.yml': buildkiteFile(), 'late.yml': buildkiteFile('made-later') },
    async live(whorl, pushed) {
      await isParked(pushed, 'late.yml');
      await toRunning(whorl, pushed);
      await passes(whorl, pushed);
      await isParked(pushed, 'late.yml');
      whorl.ci.pipeline('acme/made-later');
      await whorl.command('retry', pushed.id, 'late.yml');
      await passes(whorl, pushed, 'late.yml');
    },
    has: ['workflow_execution_continued_as_new', 'failed create:late.yml', 'update retryStep'],
  },
  {
    name: 'run-again-in-the-ci',
    options: { appview: { reopenings: true } },
    files: twoFiles,
    async live(whorl, pushed) {
      const id = await toFailed(whorl, pushed, 'a.yml');
      whorl.ci.retryJob(id);
      whorl.ci.advance(id, 'running');
      await pushed.shows('a.yml', 'running');
      await passes(whorl, pushed, 'a.yml');
      await passes(whorl, pushed, 'b.yml');
    },
    has: ['read:0.1', 'signal notices'],
  },
];
