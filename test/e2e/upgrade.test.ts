import { setTimeout as delay } from 'node:timers/promises';
import { isGrpcServiceError, ServiceError, WorkflowNotFoundError } from '@temporalio/client';
import { expect, inject, onTestFinished, test, vi } from 'vitest';
import { type Fleet, fleet, roleEnv, type RoleName } from '../support/fleet.ts';
import { everyPipelineOnce } from '../support/once.ts';
import { isParked } from '../support/pipelines.ts';
import { present, type Release, releaseAt } from '../../faults/release.ts';
import { buildkiteFile, type Pushed, repo } from '../support/spindle.ts';
import { until } from '../support/until.ts';

/** The release before operators got their tools: what this one must be able to take over from, and give back to. */
const before = '98fb5ca';

vi.setConfig({ testTimeout: 900_000 });

/** grpc's code */
const deadlineExceeded = 4;
/** FAILED_PRECONDITION: its last task failed, and is tried again; why is looked at in the end. */
const taskFailed = 9;

const open = 90;
const parked = 10;
const roles: readonly RoleName[] = ['ingest', 'worker', 'server'];

/** A database as the older release made it, with a repository that it serves. */
async function asOf(old: Release, { whorl }: Fleet, env: Record<string, string>): Promise<void> {
  await whorl.sql.unsafe('drop schema public cascade; create schema public');
  await old.whorl(['migrate'], env);
  await old.whorl(['repos', 'pin', whorl.knot.host, `${repo.did}/${repo.name}`], env);
}

/** All processes of the one release are replaced by those of the other, role by role; both run for a while. */
async function roll(all: Fleet, to: Release): Promise<void> {
  for (const role of roles) {
    const leaving = all.members.filter((one) => one.role === role && one.child.exitCode === null);
    await all.start(role, {}, to.root);
    for (const one of leaving) one.signal('SIGTERM');
    for (const one of leaving) expect(await one.exited()).toBe(0);
  }
}

test('100 open pipelines go from the release before to this one, back, and forth again, while webhooks come', async () => {
  const old = await releaseAt(before);
  onTestFinished(() => old.remove());
  const all = await fleet({ buildkite: { clock: 'manual', pipelines: ['acme/app'] } });
  const { whorl } = all;
  const env = { ...roleEnv(whorl), TEMPORAL_ADDRESS: inject('temporalAddress'), WHORL_DEV: 'true' };
  await asOf(old, all, env);
  for (const role of roles) await all.start(role, {}, old.root);
  await all.appview.connected();

  const waiting = Array.from({ length: parked }, () => whorl.push({ 'ci.yml': buildkiteFile('missing') }));
  const pushed = Array.from({ length: open }, () => whorl.push({ 'ci.yml': buildkiteFile() }));
  await until('all have a build', () => whorl.ci.builds().length === open, 180_000);
  await Promise.all(waiting.map((one) => isParked(one)));

  // From here on builds move and people push, whatever is being replaced.
  let going = true;
  onTestFinished(() => void (going = false));
  const life = (async () => {
    for (let n = 0; going; n += 1) {
      if (n % 8 === 0) pushed.push(whorl.push({ 'ci.yml': buildkiteFile() }));
      const builds = whorl.ci.builds();
      const next = builds.find(({ state }) => state === 'scheduled');
      if (next) whorl.ci.advance(next.id, 'running');
      const oldest = builds.filter(({ state }) => state === 'running');
      if (oldest.length > open / 2 && oldest[0]) whorl.ci.finish(oldest[0].id, 'passed');
      await delay(150);
    }
  })();

  await present.whorl(['migrate'], env);
  await willReplay(present, env);
  await roll(all, present);
  await answered([...waiting, ...pushed]);
  await willReplay(old, env);
  await roll(all, old);
  await answered([...waiting, ...pushed]);
  await roll(all, present);
  await answered([...waiting, ...pushed]);
  going = false;
  await life;

  whorl.ci.pipeline('acme/missing');
  for (const one of waiting) expect((await whorl.command('retry', one.id, 'ci.yml')).state).toBe('done');
  const everything = [...waiting, ...pushed];
  await until('all have a build', () => whorl.ci.builds().length === everything.length, 180_000);
  for (const { id, state } of whorl.ci.builds()) if (state !== 'passed') whorl.ci.finish(id, 'passed');
  await everyPipelineOnce(all, everything, 240_000);
  await noTaskFailed(everything);
  const complaints = all.members.flatMap(({ log }) =>
    log.filter(({ err, msg }) => /TMPRL1100|ondetermin/.test(JSON.stringify([err, msg]))),
  );
  expect(complaints).toEqual([]);
});

/** What one does before an upgrade, and before the way back. */
async function willReplay(release: Release, env: Record<string, string>): Promise<void> {
  expect(await release.whorl(['replay'], env)).toContain('replay on this code');
}

const askedAtOnce = 8;

/** Each that is open is asked, so that whatever worker runs now has replayed it. */
async function answered(pushed: readonly Pushed[]): Promise<void> {
  const rest = [...pushed];
  const askRest = async (): Promise<void> => {
    for (let one = rest.shift(); one; one = rest.shift()) await answers(one);
  };
  await Promise.all(Array.from({ length: askedAtOnce }, askRest));
}

const answers = ({ handle }: Pushed): Promise<boolean> =>
  until(
    'an answer',
    async () => {
      try {
        const { status } = await handle.describe();
        return status.name !== 'RUNNING' || (await handle.query('state')) !== undefined;
      } catch (error) {
        if (isNotYet(error)) return false;
        throw error;
      }
    },
    180_000,
  );

/** It was pushed just now, or no worker took the question in time, as on a machine that has other things to do. */
function isNotYet(error: unknown): boolean {
  if (error instanceof WorkflowNotFoundError) return true;
  // the client says in its own words that it could not ask, and why in the cause
  const cause = error instanceof ServiceError ? error.cause : error;
  return isGrpcServiceError(cause) && [deadlineExceeded, taskFailed].includes(cause.code);
}

/** WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND: news came while a task ended the workflow, so it is done again. */
const newsCame = 1;

async function noTaskFailed(pushed: Pushed[]): Promise<void> {
  for (const { handle } of pushed) {
    const { events } = await handle.fetchHistory();
    const failed = (events ?? []).flatMap(({ workflowTaskFailedEventAttributes: one }) =>
      one && one.cause !== newsCame ? [one.failure?.message] : [],
    );
    expect(failed).toEqual([]);
  }
}

test('a clone without that commit is told what to do', async () => {
  await expect(releaseAt('0000000000000000000000000000000000000001')).rejects.toThrow('git fetch --unshallow');
});
