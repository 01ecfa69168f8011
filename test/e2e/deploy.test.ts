import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Worker } from '@temporalio/worker';
import { expect, inject, test, type TestContext, vi } from 'vitest';
import type { Role } from '../../src/roles/role.ts';
import { startWorker } from '../../src/roles/worker.ts';
import { historyOf, scheduledOf } from '../support/ci.ts';
import { changedBundle, type Edit } from '../support/histories/changed.ts';
import { built, oneFile, toRunning } from '../support/histories/shape.ts';
import { isBound, ownSpindle, shown } from '../support/pipelines.ts';
import type { Pushed, Spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 150_000 });

const patchedToo: Edit = ['workflows/publisher.ts', 'import { condition }', 'import { condition, patched }'];
const publishes = 'await p.acts.publish.executeWithOptions(';

/** A file with the bundle of the workflows after these edits. */
async function bundleFile({ onTestFinished }: TestContext, edits: Edit[]): Promise<string> {
  const dir = await mkdtemp(path.join(tmpdir(), 'whorl-deploy-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const file = path.join(dir, 'workflows.js');
  await writeFile(file, await changedBundle(edits));
  return file;
}

/** A spindle whose workers a test deploys itself: one at a time, with the workflows of today unless others are given. */
async function deployable(context: TestContext) {
  const whorl = await ownSpindle(context, { roles: ['ingest', 'server'] });
  let worker: Role | undefined;
  const stop = async (): Promise<void> => {
    await worker?.stop();
    worker = undefined;
  };
  context.onTestFinished(stop);
  return {
    whorl,
    async deploy(bundlePath = inject('workflowBundlePath')): Promise<void> {
      await stop();
      worker = await startWorker(whorl.deps, { bundlePath, graceMs: 1_000 });
    },
  };
}

async function passes(whorl: Spindle, pushed: Pushed): Promise<void> {
  // a task that failed is given out again later and later
  await until('success is shown', () => pushed.seen('ci.yml').at(-1) === 'success', 60_000);
  expect(await pushed.ended()).toEqual({ 'ci.yml': 'success' });
  expect(await shown(whorl, pushed)).toEqual(['pending/1/0', 'running/1/0', 'success/1/0']);
  expect(whorl.ci.requests.filter(({ route }) => route === 'create')).toHaveLength(1);
  expect(whorl.appview.problems).toEqual([]);
}

test.concurrent('a pipeline that meets code which does not fit its history stands still, and goes on when code comes that does', async (context) => {
  const { whorl, deploy } = await deployable(context);
  await deploy();
  const pushed = whorl.push(oneFile);
  const id = await toRunning(whorl, pushed);
  const begins = 'for (const run of p.runs) begin(p, run);';
  const wrong: Edit = ['workflows/pipeline.ts', begins, `await condition(() => false, 1); ${begins}`];
  await deploy(await bundleFile(context, [wrong]));

  whorl.ci.finish(id, 'passed');
  await until('the task is tried again', async () => {
    const { raw } = await pushed.handle.describe();
    return (raw.pendingWorkflowTask?.attempt ?? 0) > 1;
  });
  const failed = (await historyOf(pushed)).filter((event) => event.workflowTaskFailedEventAttributes);
  expect(failed).toHaveLength(1);
  expect(failed[0]?.workflowTaskFailedEventAttributes?.failure?.message).toContain('[TMPRL1100] Nondeterminism error');
  expect((await pushed.handle.describe()).status.name).toBe('RUNNING');
  expect(pushed.seen('ci.yml')).toEqual(['pending', 'running']);

  await deploy();
  await passes(whorl, pushed);
});

test.concurrent('a guarded change lets a pipeline go on that began before it, and what it then wrote replays', async (context) => {
  const { whorl, deploy } = await deployable(context);
  await deploy();
  const pushed = whorl.push(oneFile);
  const id = await toRunning(whorl, pushed);
  // In a loop: what was published before stays without, and what comes has it.
  const reads = 'await p.acts.read.executeWithOptions({ activityId: `look:${n}` }, [{ pipeline: p.id, builds: [] }])';
  const guarded = await bundleFile(context, [
    patchedToo,
    ['workflows/publisher.ts', publishes, `if (patched('look-first')) ${reads};\n${publishes}`],
  ]);
  await deploy(guarded);
  whorl.ci.finish(id, 'passed');
  await passes(whorl, pushed);

  const history = await pushed.handle.fetchHistory();
  expect(scheduledOf(history.events ?? [], /^look:/)).toBeGreaterThan(0);
  expect(scheduledOf(history.events ?? [], /^look:1$/)).toBe(0);
  await Worker.runReplayHistory({ workflowBundle: { codePath: guarded } }, history, pushed.id);
  const before = { codePath: inject('workflowBundlePath') };
  await expect(Worker.runReplayHistory({ workflowBundle: before }, history, pushed.id)).rejects.toThrow(
    'patch marker encountered for change look-first',
  );
});

test.concurrent('an older worker that is given a history with a mark fails its task, and a newer one takes it', async (context) => {
  const { whorl, deploy } = await deployable(context);
  const guarded = await bundleFile(context, [
    patchedToo,
    ['workflows/publisher.ts', publishes, `patched('of-a-new-release');\n${publishes}`],
  ]);
  await deploy(guarded);
  const pushed = whorl.push(oneFile);
  const { id } = await built(whorl, pushed);
  await isBound(pushed);
  whorl.ci.advance(id, 'running');
  await pushed.shows('ci.yml', 'running');
  await deploy();
  whorl.ci.finish(id, 'passed');
  await until('the older worker fails', async () =>
    (await historyOf(pushed)).some((event) => event.workflowTaskFailedEventAttributes),
  );
  await deploy(guarded);
  await passes(whorl, pushed);
});
