import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { beforeAll, expect, inject, onTestFinished, test } from 'vitest';
import { newTid } from '../../src/forges/tangled/tid.ts';
import { type Doom, doomedWorker, type DoomedWorker } from '../support/doomed.ts';
import { buildOf, buildsOf, isBound, shown } from '../support/pipelines.ts';
import { startRoleProcess } from '../support/role-process.ts';
import { buildkiteFile, type Pushed, secret, type Spindle, spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

const oneFile = { 'ci.yml': buildkiteFile() };

beforeAll(() => void Runtime.install({ logger: new DefaultLogger('ERROR'), shutdownSignals: [] }));

/** A spindle without a worker for activities. Its workflows run here, so that they outlive every doomed worker. */
async function withoutActivities(): Promise<Spindle> {
  const whorl = await spindle({
    roles: ['ingest', 'server'],
    durations: { createTimeout: 1_500, publishTimeout: 1_500, retryMax: 400, sweeps: [500], looks: [200] },
  });
  const connection = await NativeConnection.connect({ address: inject('temporalAddress') });
  const worker = await Worker.create({
    connection,
    namespace: inject('temporalNamespace'),
    taskQueue: whorl.config.taskQueue,
    workflowBundle: { codePath: inject('workflowBundlePath') },
  });
  const running = worker.run();
  onTestFinished(async () => {
    worker.shutdown();
    await running;
    await connection.close();
  });
  return whorl;
}

/**
 * How many steps each activity of a pipeline has when nothing dies; and a worker that is killed from outside while the CI
 * makes a build.
 */
async function countSteps(whorl: Spindle): Promise<{ counts: [string, number][]; pipelines: Pushed[] }> {
  const worker = doomedWorker(whorl);
  await worker.ready;
  worker.go(new Map());
  const first = whorl.push(oneFile);
  const counts: [string, number][] = [];
  for (const activity of ['publish', 'create', 'resend']) {
    const found = await until(`${activity} is done`, () => worker.done.find(({ done }) => done === activity));
    counts.push([activity, found.steps]);
  }
  await isBound(first);
  const held = whorl.ci.hold({ route: 'create' }, 'answer');
  const second = whorl.push(oneFile);
  await held.arrived;
  worker.kill();
  await worker.died;
  held.release();
  return { counts, pipelines: [first, second] };
}

/** Every pipeline is finished by a healthy worker: one build, and the statuses of a pipeline that nothing happened to. */
async function allEndRight(whorl: Spindle, pipelines: Pushed[]): Promise<void> {
  await startRoleProcess('worker', {
    WHORL_DATABASE_URL: whorl.databaseUrl,
    WHORL_TASK_QUEUE: whorl.config.taskQueue,
    TEMPORAL_NAMESPACE: inject('temporalNamespace'),
    WHORL_BUILDKITE_TOKEN: whorl.ci.token,
    WHORL_BUILDKITE_ORG: 'acme',
    WHORL_BUILDKITE_API_URL: whorl.ci.apiUrl,
    WHORL_BUILDKITE_WEBHOOK_SECRET: secret,
    WHORL_BUILDKITE_RATE: '10000',
  });
  await Promise.all(
    pipelines.map(async (pushed) => {
      await isBound(pushed);
      whorl.ci.finish((await buildOf(whorl, pushed)).id, 'passed');
      await pushed.shows('ci.yml', 'success');
      expect(await pushed.ended()).toEqual({ 'ci.yml': 'success' });
    }),
  );
  for (const pushed of pipelines) {
    expect(buildsOf(whorl, pushed)).toHaveLength(1);
    expect(await shown(whorl, pushed)).toEqual(['pending/1/0', 'success/1/0']);
  }
  expect(whorl.appview.problems).toEqual([]);
}

test(
  'a worker that is killed between any two awaits of create and publish changes nothing in the result',
  { timeout: 180_000 },
  async () => {
    const whorl = await withoutActivities();
    const { counts, pipelines } = await countSteps(whorl);
    const points = counts.flatMap(([activity, steps]) =>
      Array.from({ length: steps }, (_, n): Doom => ({ activity, step: n + 1 })),
    );
    // Now these are three statements and a POST, one statement, two statements, and the start of each.
    expect(points.length).toBeGreaterThanOrEqual(10);

    const dooms = new Map(points.map((doom) => [newTid(), doom]));
    for (const rkey of dooms.keys()) pipelines.push(whorl.push(oneFile, { rkey }));
    // Two more are on their way while one works.
    const spares: DoomedWorker[] = [];
    while (dooms.size > 0) {
      while (spares.length < Math.min(3, dooms.size)) spares.push(doomedWorker(whorl));
      const worker = spares.shift();
      await worker?.ready;
      worker?.go(dooms);
      const victim = await worker?.died;
      if (victim === undefined) throw new Error('a doomed worker ended by itself');
      dooms.delete(victim);
    }
    await allEndRight(whorl, pipelines);
  },
);
