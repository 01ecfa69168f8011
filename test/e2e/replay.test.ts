import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { historyFromJSON, historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { Worker } from '@temporalio/worker';
import { expect, inject, test } from 'vitest';
import { followLog, logUrl } from '../../sim/appview/log-reader.ts';
import { type BuildkiteSim, lose } from '../../sim/buildkite/index.ts';
import { buildkiteFile, type Pushed, type Spindle, type SpindleOptions, spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

/** Recorded with `RECORD=1 npm test -- test/e2e/replay.test.ts`, once for each release. */
const folder = path.join(import.meta.dirname, '../histories');
const release = '0.2.0';

/** A pipeline of each shape. What is recorded of one is every run that its workflow id had. */
interface Shape {
  name: string;
  options?: SpindleOptions;
  files?: Record<string, string>;
  prepare?: (ci: BuildkiteSim) => void;
  live(whorl: Spindle, pushed: Pushed): Promise<void>;
}

const builds = (whorl: Spindle, count: number) =>
  until(`${count} builds`, () => (whorl.ci.builds().length >= count ? whorl.ci.builds() : undefined));
const only = async (whorl: Spindle) => (await builds(whorl, 1))[0]?.id ?? '';
const green = async (whorl: Spindle): Promise<void> => {
  const id = await only(whorl);
  whorl.ci.advance(id, 'running');
  whorl.ci.finish(id, 'passed');
};

const shapes: Shape[] = [
  { name: 'one-job', live: green },
  {
    name: 'three-jobs',
    files: { 'a.yml': buildkiteFile(), 'b.yml': buildkiteFile('lint'), 'c.yml': 'steps: []' },
    async live(whorl) {
      for (const { id } of await builds(whorl, 2)) whorl.ci.finish(id, 'passed');
    },
  },
  {
    name: 'early-webhook',
    prepare: (ci) => void ci.onRequest({ route: 'create' }, ci.afterWebhooks('build.running', 'build.finished')),
    async live(whorl) {
      whorl.ci.advance(await only(whorl), 'running');
      whorl.ci.finish(await only(whorl), 'passed');
    },
  },
  {
    name: 'silence',
    options: { durations: { silence: 300 } },
    prepare: (ci) => void ci.onWebhook({}, lose(), 'always'),
    async live(whorl) {
      const id = await only(whorl);
      whorl.ci.finish(id, 'passed');
    },
  },
  {
    name: 'parked-and-retried',
    prepare: (ci) => ci.removePipeline('acme', 'app'),
    async live(whorl, pushed) {
      await until('it is parked', () =>
        whorl.appview.view(whorl.knot.host, pushed.rkey).jobs['ci.yml']?.error?.includes('operator'),
      );
      whorl.ci.pipeline('acme/app');
      await whorl.command('retry', pushed.id);
      whorl.ci.finish(await only(whorl), 'passed');
    },
  },
  {
    name: 'cancelled',
    async live(whorl, pushed) {
      const id = await only(whorl);
      whorl.ci.advance(id, 'running');
      await pushed.shows('ci.yml', 'running');
      await whorl.command('cancel', pushed.id);
      whorl.ci.finish(id, 'canceled');
    },
  },
  {
    name: 'opened-again',
    options: { appview: { reopenings: true } },
    async live(whorl, pushed) {
      whorl.ci.finish(await only(whorl), 'failed');
      await pushed.ended();
      await whorl.command('rerun', pushed.id);
      const again = (await builds(whorl, 2))[1]?.id ?? '';
      whorl.ci.finish(again, 'passed');
      await pushed.shows('ci.yml', 'success');
    },
  },
  {
    name: 'followed',
    async live(whorl, pushed) {
      const id = await only(whorl);
      whorl.ci.advance(id, 'running');
      await pushed.shows('ci.yml', 'running');
      const reader = followLog(logUrl(whorl.url, whorl.knot.host, pushed.rkey, 'ci.yml'));
      whorl.ci.appendLog(id, whorl.ci.build(id).jobs[0]?.id ?? '', 'a line\r\n');
      await reader.wait(({ lineCount }) => lineCount > 0);
      whorl.ci.finish(id, 'passed');
      await reader.ended();
    },
  },
  {
    name: 'continued-as-new',
    options: { durations: { maxEvents: 20, resend: 1_500 } },
    async live(whorl, pushed) {
      const id = await only(whorl);
      whorl.ci.advance(id, 'running');
      await pushed.shows('ci.yml', 'running');
      whorl.ci.finish(id, 'passed');
    },
  },
];

async function save(name: string, history: History): Promise<void> {
  if (!process.env['RECORD']) return;
  const dir = path.join(folder, release);
  await mkdir(dir, { recursive: true });
  await writeFile(path.join(dir, `${name}.json`), `${JSON.stringify(JSON.parse(historyToJSON(history)), anonymous)}\n`);
}

/** Identities, sticky queues and stack traces name the machine that recorded. */
const anonymous = (key: string, value: unknown): unknown => {
  if (typeof value !== 'string') return value;
  if (key === 'stackTrace') return '';
  return key === 'identity' || value.startsWith('whorl@') ? 'whorl' : value;
};

type History = Awaited<ReturnType<WorkflowHandle['fetchHistory']>>;

const replay = (history: Parameters<typeof Worker.runReplayHistory>[1], id: string) =>
  Worker.runReplayHistory({ workflowBundle: { codePath: inject('workflowBundlePath') } }, history, id);

test.each(shapes)('the history of a pipeline replays: $name', async ({ name, options, files, prepare, live }) => {
  const whorl = await spindle(options);
  prepare?.(whorl.ci);
  const pushed = whorl.push(files ?? { 'ci.yml': buildkiteFile() });
  await live(whorl, pushed);
  await pushed.ended();
  const runs = await runsOf(whorl, pushed.id);
  for (const [n, run] of runs.entries()) {
    const history = await whorl.client.workflow.getHandle(pushed.id, run).fetchHistory();
    await replay(history, pushed.id);
    await save(runs.length > 1 ? `${name}-${n + 1}` : name, history);
  }
});

/** The runs that a workflow id had, oldest first, as the histories themselves chain them. */
async function runsOf(whorl: Spindle, id: string): Promise<string[]> {
  return until('every run is listed', async () => {
    const runs: { runId: string; at: number }[] = [];
    for await (const { runId, startTime } of whorl.client.workflow.list({ query: `WorkflowId = '${id}'` }))
      runs.push({ runId, at: startTime.getTime() });
    const current = (await whorl.client.workflow.getHandle(id).describe()).runId;
    return (
      runs.some(({ runId }) => runId === current) && runs.toSorted((a, b) => a.at - b.at).map(({ runId }) => runId)
    );
  });
}

test('the histories that releases recorded replay on the code of today', async () => {
  const releases = existsSync(folder) ? await readdir(folder) : [];
  let replayed = 0;
  for (const version of releases) {
    for (const file of await readdir(path.join(folder, version))) {
      const text = await readFile(path.join(folder, version, file), 'utf8');
      await replay(historyFromJSON(JSON.parse(text)), file);
      replayed += 1;
    }
  }
  expect(replayed).toBeGreaterThan(0);
});

test('a history that another code made does not replay', async () => {
  const [version = ''] = await readdir(folder);
  const text = await readFile(path.join(folder, version, 'one-job.json'), 'utf8');
  const changed = text.replaceAll('"create"', '"search"');
  expect(changed).not.toBe(text);
  await expect(replay(historyFromJSON(JSON.parse(changed)), 'changed')).rejects.toThrow();
});
