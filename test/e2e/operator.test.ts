import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { Command } from 'commander';
import { expect, inject, test, vi } from 'vitest';
import { answer } from '../../sim/buildkite/index.ts';
import { addCommands, run } from '../../src/cli/index.ts';
import { findTemporal } from '../../src/embedded/temporal-binary.mjs';
import { buildOf, failingActivity, isParked, ownSpindle, parkedCauses } from '../support/pipelines.ts';
import { buildkiteFile, type Pushed, type Spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 120_000 });

const oneFile = { 'ci.yml': buildkiteFile() };
const creating = 'create:ci.yml';

/** The pipeline that the runbook's commands are about. */
const example = 'pipeline/knot1.tangled.sh/3lwz7gq5vks22';
const runbook = await readFile(path.join(import.meta.dirname, '../../docs/runbook.md'), 'utf8');
const printed = [...runbook.matchAll(/^temporal .+$/gm)].map(([line]) => line);

/** Runs the command that the runbook prints and that begins so, for this pipeline, with the real program. */
async function asPrinted(
  pushed: Pushed,
  begins: string,
  swap: readonly (readonly [string, string])[] = [],
): Promise<string> {
  const found = printed.filter((line) => line.startsWith(`temporal ${begins}`));
  expect(found, `the runbook prints one command that begins with ${begins}`).toHaveLength(1);
  const line = [[example, pushed.id] as const, ...swap].reduce((text, [from, to]) => {
    return text.replaceAll(from, to);
  }, found[0] ?? '');
  const binary = await findTemporal();
  const { stdout, stderr } = await promisify(execFile)('sh', ['-c', `temporal() { "$CLI" "$@"; }; ${line}`], {
    env: {
      ...process.env,
      CLI: binary?.path,
      TEMPORAL_ADDRESS: inject('temporalAddress'),
      TEMPORAL_NAMESPACE: inject('temporalNamespace'),
    },
  });
  return stdout + stderr;
}

/** The operator's ways to an activity: what the buttons of the UI call, and the commands of the runbook. */
type Way = (whorl: Spindle, pushed: Pushed) => Promise<unknown>;
const target = ({ client }: Spindle, { id: workflowId }: Pushed) => ({
  namespace: client.options.namespace,
  execution: { workflowId },
  identity: 'a person at the Temporal UI',
  id: creating,
});
const line =
  (begins: string): Way =>
  (_whorl, pushed) =>
    asPrinted(pushed, begins);
const ways = [
  {
    by: 'the buttons of the UI',
    reset: ((whorl, pushed) => whorl.client.workflowService.resetActivity(target(whorl, pushed))) satisfies Way,
    pause: ((whorl, pushed) => whorl.client.workflowService.pauseActivity(target(whorl, pushed))) satisfies Way,
    unpause: ((whorl, pushed) => whorl.client.workflowService.unpauseActivity(target(whorl, pushed))) satisfies Way,
  },
  {
    by: 'the command line',
    reset: line('activity reset'),
    pause: line('activity pause'),
    unpause: line('activity unpause'),
  },
];

const pendingOf = async (pushed: Pushed) =>
  (await pushed.handle.describe()).raw.pendingActivities?.find(({ activityId }) => activityId === creating);

/** Its create was made at the CI, which answered 500; nothing is tried again for ten minutes. */
async function failed(whorl: Spindle): Promise<Pushed> {
  whorl.ci.onRequest({ route: 'create' }, answer(500, { accepted: true }));
  const pushed = whorl.push(oneFile);
  const { lastFailure, nextAttemptScheduleTime } = await failingActivity(pushed, creating);
  expect(lastFailure?.message).toContain('Buildkite answered 500');
  expect(Number(nextAttemptScheduleTime?.seconds)).toBeGreaterThan(Date.now() / 1_000 + 300);
  return pushed;
}

async function passes(whorl: Spindle, pushed: Pushed): Promise<void> {
  whorl.ci.finish((await buildOf(whorl, pushed)).id, 'passed');
  await pushed.shows('ci.yml', 'success');
}

test.concurrent.for(ways)(
  'a create that waits long for its next try goes at once when it is reset by $by',
  async ({ reset }, context) => {
    const whorl = await ownSpindle(context, { durations: { looks: [600_000] } });
    const pushed = await failed(whorl);
    await reset(whorl, pushed);
    await until('it is over', async () => (await pendingOf(pushed)) === undefined);
    await passes(whorl, pushed);
    expect(whorl.ci.builds()).toHaveLength(1);
  },
);

test.concurrent.for(ways)(
  'a create that is paused by $by stays so and says so, and goes on when it is unpaused',
  async ({ pause, reset, unpause }, context) => {
    const whorl = await ownSpindle(context, { durations: { looks: [20_000] } });
    whorl.ci.onRequest({ route: 'create' }, answer(500, { accepted: true }));
    const pushed = whorl.push(oneFile);
    await failingActivity(pushed, creating);
    await pause(whorl, pushed);
    expect(await pendingOf(pushed)).toMatchObject({ paused: true });
    const { typedSearchAttributes } = await pushed.handle.describe();
    expect(JSON.stringify(typedSearchAttributes)).toContain('create');
    const { attempt } = (await pendingOf(pushed)) ?? {};

    // Another pipeline goes the same way, with the same wait, from its push to its end.
    whorl.ci.onRequest({ route: 'create' }, answer(500, { accepted: true }));
    const other = whorl.push(oneFile);
    await failingActivity(other, creating);
    await until('the other one has its build', async () => (await pendingOf(other)) === undefined, 60_000);
    expect(await pendingOf(pushed)).toMatchObject({ paused: true, attempt });

    await unpause(whorl, pushed);
    if ((await pendingOf(pushed))?.paused) await reset(whorl, pushed);
    await until('it goes on', async () => (await pendingOf(pushed)) === undefined, 60_000);
    await passes(whorl, pushed);
    expect(whorl.ci.builds()).toHaveLength(2);
  },
);

const late = { 'ci.yml': buildkiteFile('made-later') };
async function parkedSpindle(context: Parameters<typeof ownSpindle>[0]) {
  // Long enough for a pipeline whose job has ended to stay open while one speaks to it.
  const whorl = await ownSpindle(context, { durations: { resend: 60_000 } });
  const pushed = whorl.push(late);
  await isParked(pushed);
  return { whorl, pushed };
}

/** An update as the UI sends it: what stands in the field Data, or no argument at all. */
const send = ({ handle }: Pushed, name: string, data?: object): Promise<string> =>
  data === undefined
    ? handle.executeUpdate<string, []>(name)
    : handle.executeUpdate<string, [object]>(name, { args: [data] });

test.concurrent('Parked lists what waits for a person, by its cause, and nothing else', async (context) => {
  const { whorl, pushed } = await parkedSpindle(context);
  const running = whorl.push(oneFile);
  await buildOf(whorl, running);
  const only = `TaskQueue = "${whorl.config.taskQueue}"`;
  const ids = async (query: string): Promise<string[]> => {
    const found: string[] = [];
    for await (const { workflowId } of whorl.client.workflow.list({ query: `${query} AND ${only}` }))
      found.push(workflowId);
    return found;
  };
  await until('both are listed', async () => (await ids('WorkflowType = "pipeline"')).length === 2);
  await until('one is parked', async () => (await ids('Parked IS NOT NULL')).length === 1);
  expect(await ids('Parked IS NOT NULL AND ExecutionStatus = "Running"')).toEqual([pushed.id]);
  expect(await ids('Parked = "TargetMissing" AND ExecutionStatus = "Running"')).toEqual([pushed.id]);
  expect(await ids('Parked = "CredentialsRejected" AND ExecutionStatus = "Running"')).toEqual([]);
  expect(await ids(`\`Commit\` = "${pushed.sha}"`)).toEqual([pushed.id]);
  const views = [...runbook.matchAll(/`<ui>\/namespaces\/default\/workflows\?query=([^`]+)`/g)];
  expect(views.length).toBeGreaterThan(3);
  for (const [, query = ''] of views) await ids(decodeURIComponent(query));
  const listed = await asPrinted(pushed, 'workflow list', [['Running"', `Running" AND ${only}`]]);
  expect(listed).toContain(pushed.rkey);
  expect(listed).not.toContain(running.rkey);
});

test.concurrent.for([
  { how: 'as the UI sends it, without data', data: undefined },
  { how: 'with a name and a job', data: { job: 'ci.yml', by: 'me' } },
])('the update retryStep $how lets a parked job go on', async ({ data }, context) => {
  const { whorl, pushed } = await parkedSpindle(context);
  whorl.ci.pipeline('acme/made-later');
  const result = await send(pushed, 'retryStep', data);
  expect(result).toBe('Trying again: ci.yml.');
  await passes(whorl, pushed);
  await until('it is parked no more', async () => (await parkedCauses(pushed)).length === 0);
  await expect(send(pushed, 'retryStep')).rejects.toThrow();
});

test.concurrent('the update by the command line lets a parked job go on; a rerun and a cancel need no data either', async (context) => {
  const { whorl, pushed } = await parkedSpindle(context);
  whorl.ci.pipeline('acme/made-later');
  expect(await asPrinted(pushed, 'workflow update execute')).toContain('Trying again: ci.yml.');
  await passes(whorl, pushed);
  const again = await send(pushed, 'rerun');
  expect(again).toContain('ci.yml');
  await buildOf(whorl, pushed, 'ci.yml', 2);
  expect(await send(pushed, 'cancel')).toBe('Cancelling ci.yml.');
  await pushed.shows('ci.yml', 'cancelled');
});

test.concurrent('what slows everything in an outage can be set and taken back as printed', async (context) => {
  const { whorl, pushed } = await parkedSpindle(context);
  const lines = printed.filter((each) => each.startsWith('temporal task-queue config set'));
  expect(lines).toHaveLength(2);
  const mine = [['--task-queue whorl', `--task-queue ${whorl.config.taskQueue}`]] as const;
  const set = 'task-queue config set --task-queue whorl --task-queue-type activity --queue-rps-limit';
  expect(await asPrinted(pushed, `${set} 5`, mine)).toContain('5');
  await asPrinted(pushed, `${set} default`, mine);
  await passes(whorl, whorl.push(oneFile));
});

/** `whorl`, as a person types it. */
async function whorl(spindle: Spindle, typed: string): Promise<{ code: number; out: string }> {
  const out: string[] = [];
  const print = (text: string): void => void out.push(text);
  const shell = { env: { WHORL_DATABASE_URL: spindle.databaseUrl }, print, complain: print };
  const code = await run(addCommands(new Command('whorl'), shell), typed.split(' '), shell);
  return { code, out: out.join('\n') };
}

test.concurrent('a revoked token that is replaced in its file needs no restart: one command lets all that it parked go on', async (context) => {
  const dir = await mkdtemp(path.join(tmpdir(), 'whorl-token-'));
  context.onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const file = path.join(dir, 'token');
  await writeFile(file, 'the-first-token\n');
  const spindle = await ownSpindle(context, {
    buildkite: { token: { token: 'the-first-token' } },
    env: { WHORL_BUILDKITE_TOKEN: '', WHORL_BUILDKITE_TOKEN_FILE: file },
  });
  const before = spindle.push(oneFile);
  await passes(spindle, before);
  spindle.ci.revokeToken('the-first-token');
  const pushed = [spindle.push(oneFile), spindle.push(oneFile), spindle.push(oneFile)];
  for (const each of pushed) {
    await isParked(each);
    expect(await parkedCauses(each)).toEqual(['CredentialsRejected']);
  }
  await until('the database says so too', async () => {
    return (await spindle.sql`select from jobs where parked = 'CredentialsRejected'`).length === 3;
  });
  const dry = await whorl(spindle, 'retry --cause CredentialsRejected --dry-run');
  for (const { id } of pushed) expect(dry.out).toContain(id);
  expect(dry.out).toContain('does not accept the API token');

  await writeFile(file, `${spindle.ci.addToken({ token: 'the-second-token' }).token}\n`);
  expect(await whorl(spindle, 'retry --cause CredentialsRejected')).toEqual({ code: 0, out: '3 tried again.' });
  for (const each of pushed) await passes(spindle, each);
  await until('nothing is parked', async () =>
    (await whorl(spindle, 'retry --cause CredentialsRejected')).out.startsWith('Nothing'),
  );
  expect(spindle.ci.builds()).toHaveLength(4);
});
