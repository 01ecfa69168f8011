import { Worker } from '@temporalio/worker';
import { expect, inject, test, vi } from 'vitest';
import { type History, saveHistories } from '../support/histories/files.ts';
import { oneFile, type PipelineShape } from '../support/histories/shape.ts';
import { shapes } from '../support/histories/shapes.ts';
import { missingOf } from '../support/histories/traits.ts';
import { ownSpindle } from '../support/pipelines.ts';
import type { Spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 90_000 });

/** The shapes whose histories are to be stored, as `npm run record-histories` says. */
const wanted = new Set(process.env['WHORL_RECORD_HISTORIES']?.split(' '));

test.concurrent.for(shapes)('the histories of a workflow replay: $name', async (shape, context) => {
  const { name, options = {}, has } = shape;
  const workflowBundle = { codePath: inject('workflowBundlePath') };
  const whorl = await ownSpindle(context, options);
  const id = 'workflow' in shape ? await shape.workflow(whorl) : await live(whorl, shape);
  const runs = await runsOf(whorl, id);
  for (const history of runs) await Worker.runReplayHistory({ workflowBundle }, history, id);
  expect(missingOf(has, runs)).toEqual([]);
  if (wanted.has(name)) await saveHistories(name, runs);
});

async function live(whorl: Spindle, { prepare, files = oneFile, live: go }: PipelineShape): Promise<string> {
  await prepare?.(whorl);
  const pushed = whorl.push(files);
  await go(whorl, pushed);
  await pushed.ended();
  return pushed.id;
}

/** The runs that a workflow id had, oldest first. */
async function runsOf({ client }: Spindle, id: string): Promise<History[]> {
  const current = (await client.workflow.getHandle(id).describe()).runId;
  const runs = await until('every run is listed', async () => {
    const listed = [];
    for await (const run of client.workflow.list({ query: `WorkflowId = '${id}'` })) listed.push(run);
    return listed.some(({ runId }) => runId === current) ? listed : undefined;
  });
  const sorted = runs.toSorted((a, b) => a.startTime.getTime() - b.startTime.getTime());
  return Promise.all(sorted.map(({ runId }) => client.workflow.getHandle(id, runId).fetchHistory()));
}
