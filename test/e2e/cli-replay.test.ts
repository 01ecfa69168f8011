import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { Command } from 'commander';
import { beforeAll, expect, inject, test, vi } from 'vitest';
import { replayCommand } from '../../src/cli/replay.ts';
import { run } from '../../src/cli/index.ts';
import { changedBundle, changedProgram, type Edit } from '../support/histories/changed.ts';
import { startWorker } from '../../src/roles/worker.ts';
import { isBound, isParked } from '../support/pipelines.ts';
import { buildkiteFile, type Pushed, type Spindle, spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 90_000 });

let whorl: Spindle;
let running: Pushed;
let parked: Pushed;

beforeAll(async () => {
  whorl = await spindle({ shared: true });
  running = whorl.push({ 'ci.yml': buildkiteFile() });
  await isBound(running);
  parked = whorl.push({ 'ci.yml': buildkiteFile('made-later') });
  await isParked(parked);
  await listed(whorl, 2);
  return () => whorl.close();
});

/** Temporal's list shows so many open pipelines. */
const listed = ({ client, config }: Spindle, wanted: number) =>
  until(`${wanted} open pipelines`, async () => {
    const query = `TaskQueue = '${config.taskQueue}' AND ExecutionStatus = 'Running'`;
    return (await client.workflow.count(query)).count === wanted;
  });

const envOf = ({ config }: Spindle, more: Record<string, string> = {}) => ({
  TEMPORAL_ADDRESS: inject('temporalAddress'),
  TEMPORAL_NAMESPACE: inject('temporalNamespace'),
  WHORL_TASK_QUEUE: config.taskQueue,
  ...more,
});

/** Runs the command in this process. */
async function replay(env: NodeJS.ProcessEnv, ...args: string[]) {
  const out: string[] = [];
  const err: string[] = [];
  const progress: string[] = [];
  const shell = { env, print: (line: string) => void out.push(line), complain: (line: string) => void err.push(line) };
  const program = new Command('whorl').addCommand(replayCommand(shell, (line) => void progress.push(line)));
  const code = await run(program, ['replay', ...args], shell);
  return { code, out: out.join('\n'), err: err.join('\n'), progress };
}

/** Runs it as a process of its own, with edits of the code: that of a release to come. */
async function replayOn(edits: Edit[], env: Record<string, string>, ...args: string[]) {
  const { dir, remove } = await changedProgram(edits);
  try {
    const child = spawn(process.execPath, [path.join(dir, 'src/main.ts'), 'replay', ...args], {
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
    return { code: child.exitCode, out: out.trimEnd(), err: err.trimEnd() };
  } finally {
    await remove();
  }
}

test('open pipelines that go on with this code replay: exit code 0', async () => {
  const { code, out, err, progress } = await replay(envOf(whorl));
  expect({ code, err }).toEqual({ code: 0, err: '' });
  expect(out.split('\n')).toEqual([
    expect.stringMatching(/^Replaying WorkflowType = 'pipeline' AND TaskQueue = 'test-.* of Temporal \(.*\) on whorl /),
    '2 of 2 replay on this code.',
  ]);
  expect(progress).toEqual([
    '0 of about 2, 0 would break',
    '1 of about 2, 0 would break',
    '2 of about 2, 0 would break',
    '',
  ]);
});

const noUpsert: Edit = ['workflows/park.ts', 'if (causes.join() !== p.parkedCauses)', 'if (causes.length > 1e9)'];

test('a pipeline that would break on the next code is named, with the event and the reason: exit code 1', async () => {
  const { code, out, err } = await replayOn([noUpsert], envOf(whorl));
  const { runId } = await parked.handle.describe();
  expect(out.split('\n').slice(1)).toEqual([
    expect.stringMatching(new RegExp(`^${parked.id} \\(run ${runId}\\) would break at event \\d+:$`)),
    '  the history has a change of the search attributes Parked there, and this code a timer',
    '1 of 2 replay on this code.',
  ]);
  expect({ code, err }).toEqual({
    code: 1,
    err: 'whorl: 1 of 2 would break on this code: see docs/changing-workflows.md',
  });
});

test('as JSON it is one document, with what broke and what Temporal said', async () => {
  const { code, out } = await replayOn([noUpsert], envOf(whorl), '--json');
  expect(code).toBe(1);
  const { runId } = await parked.handle.describe();
  expect(JSON.parse(out)).toEqual({
    server: `${inject('temporalAddress')}, namespace ${inject('temporalNamespace')}`,
    query: expect.stringContaining(whorl.config.taskQueue),
    release: expect.stringMatching(/^\d+\.\d+\.\d+$/),
    replayed: 2,
    notBegun: 0,
    gone: 0,
    broken: [
      {
        workflowId: parked.id,
        runId,
        event: expect.any(Number),
        why: 'the history has a change of the search attributes Parked there, and this code a timer',
        detail: expect.stringContaining('[TMPRL1100] Nondeterminism error: Timer machine'),
      },
    ],
  });
});

test('a query chooses what is replayed, and a limit how many', async () => {
  const query = `WorkflowId = '${running.id}'`;
  const { code, out } = await replay(envOf(whorl), '--query', query, '--json');
  expect([code, JSON.parse(out)]).toEqual([0, expect.objectContaining({ query, replayed: 1 })]);
  const { out: limited } = await replay(envOf(whorl), '--limit', '1', '--concurrency', '4', '--json');
  expect(JSON.parse(limited)).toMatchObject({ replayed: 1, broken: [] });
});

test('where nothing is open, nothing can break', async () => {
  const { code, out } = await replay(envOf(whorl, { WHORL_TASK_QUEUE: "nobody's" }));
  expect([code, out.split('\n').at(-1)]).toEqual([0, 'Nothing fits that query, so nothing can break.']);
});

test('a pipeline that no worker has begun is no obstacle, and is told of', async () => {
  const waiting = await spindle({ roles: ['ingest', 'server'] });
  const pushed = waiting.push({ 'ci.yml': buildkiteFile() });
  await listed(waiting, 1);
  const { code, out } = await replay(envOf(waiting));
  expect([code, out.split('\n').slice(1)]).toEqual([
    0,
    ['Not begun yet, so they begin with whatever code comes first: 1.'],
  ]);
  await pushed.handle.terminate();
});

test('a patch that was taken away too early is named', async (context) => {
  const begins = 'for (const run of p.runs) begin(p, run);';
  const newer = await changedBundle([
    ['workflows/pipeline.ts', begins, `if (patched('a-new-way')) ${begins} else ${begins}`],
  ]);
  const dir = await mkdtemp(path.join(tmpdir(), 'whorl-newer-'));
  context.onTestFinished(() => rm(dir, { recursive: true }));
  const bundlePath = path.join(dir, 'workflows.js');
  await writeFile(bundlePath, newer);
  const other = await spindle({ roles: ['ingest', 'server'] });
  const worker = await startWorker(other.deps, { bundlePath });
  context.onTestFinished(() => worker.stop());
  const pushed = other.push({ 'ci.yml': buildkiteFile() });
  await isBound(pushed);
  await listed(other, 1);
  const { code, out } = await replay(envOf(other));
  expect([code, out]).toEqual([
    1,
    expect.stringMatching(
      /would break at event 5:\n {2}the history has the mark of patched\('a-new-way'\), and this code no longer asks for it\n/,
    ),
  ]);
  await pushed.handle.terminate();
});

test('code that loops for ever is stopped and told of', async () => {
  const loop: Edit = ['workflows/builder.ts', 'run.creating = attempt;', 'for (;;) run.creating = attempt;'];
  const { code, out } = await replayOn([loop], envOf(whorl), '--limit', '1');
  expect([code, out]).toEqual([1, expect.stringContaining('this code does not come to rest: it loops for ever')]);
});

test.for([
  {
    what: 'no Temporal is configured',
    more: { TEMPORAL_ADDRESS: '' },
    says: /no Temporal is configured: set TEMPORAL_/,
  },
  {
    what: 'Temporal is away',
    more: { TEMPORAL_ADDRESS: '127.0.0.1:1' },
    says: /\(127.0.0.1:1, .* does not answer \(.*TEMPORAL_ADDRESS/,
  },
  {
    what: 'there is no such namespace',
    more: { TEMPORAL_NAMESPACE: 'nowhere' },
    says: /namespace does not exist.*TEMPORAL_NAMESPACE/,
  },
  { what: 'a setting is wrong', more: { WHORL_HOLD_TIME: 'soon' }, says: /WHORL_HOLD_TIME must be a duration/ },
  {
    what: 'Temporal does not understand the query',
    args: ['--query', 'Colour = 1'],
    says: /does not understand the query "Colour = 1": \S/,
  },
  { what: 'the limit is none', args: ['--limit', '0'], says: /--limit must be a whole number from 1 to/ },
  { what: 'the concurrency is none', args: ['--concurrency', 'all'], says: /--concurrency must be a whole number/ },
])('$what: a sentence on standard error, and exit code 2', async ({ more = {}, args = [], says }) => {
  const { code, out, err } = await replay(envOf(whorl, more), ...args);
  expect({ code, out }).toEqual({ code: 2, out: '' });
  expect(err).toMatch(/^whorl: [^\n]+/);
  expect(err).toMatch(says);
});

test('its help has examples', async () => {
  const { code, out } = await replay({}, '--help');
  expect([code, out]).toEqual([0, expect.stringContaining('Examples:\n  whorl replay')]);
});
