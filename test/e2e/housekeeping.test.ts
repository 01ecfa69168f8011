import { setTimeout as delay } from 'node:timers/promises';
import {
  type ScheduleHandle,
  ScheduleOverlapPolicy,
  type WorkflowHandle,
  WorkflowFailedError,
} from '@temporalio/client';
import { expect, onTestFinished, test, type TestContext, vi } from 'vitest';
import { houseName, keepSchedule } from '../../src/roles/housekeeping.ts';
import { temporalOn } from '../../src/temporal/where.ts';
import { openClient } from '../../src/roles/temporal.ts';
import type { Housekeeping } from '../../src/workflows/housekeeping.ts';
import { fleet } from '../support/fleet.ts';
import { ownSpindle } from '../support/pipelines.ts';
import type { Spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 120_000 });

const isThere = (schedule: ScheduleHandle): Promise<boolean> =>
  schedule.describe().then(
    () => true,
    () => false,
  );

interface House {
  whorl: Spindle;
  schedule: ScheduleHandle;
}

async function housed(context: TestContext, roles: 'worker'[] = ['worker']): Promise<House> {
  const whorl = await ownSpindle(context, { roles, housekeeping: true });
  const schedule = whorl.client.schedule.getHandle(houseName(whorl.config.taskQueue));
  context.onTestFinished(() => schedule.delete());
  if (roles.length > 0) await until('the schedule is there', () => isThere(schedule));
  return { whorl, schedule };
}

/** The nth run that the schedule has started. */
async function runOf({ whorl, schedule }: House, n: number): Promise<WorkflowHandle> {
  return until(`run ${n} of housekeeping`, async () => {
    const { info } = await schedule.describe();
    const started = info.recentActions[n - 1]?.action.workflow.workflowId;
    return started === undefined ? undefined : whorl.client.workflow.getHandle(started);
  });
}

test.concurrent('housekeeping is a schedule that one sees: it runs at once, says what went and what is left, and its ids can be read', async (context) => {
  const house = await housed(context);
  const { whorl, schedule } = house;
  await whorl.sql`
    insert into quarantine (source, bytes, reason, received_at) values ('x', 'x', 'no', now() - interval '40 days')`;
  await runOf(house, 1).then((first) => first.result());
  await schedule.trigger();
  const run = await runOf(house, 2);
  const result: Housekeeping = await run.result();
  expect(Object.keys(result)).toEqual(['logs', 'deliveries', 'statuses', 'quarantine', 'tokens', 'sources']);
  expect(await whorl.sql`select from quarantine`).toHaveLength(0);
  for (const each of Object.values(result)) expect(each).toMatchObject({ bytes: expect.any(Number) });

  expect(run.workflowId).toMatch(/^housekeeping-test-[\w-]+-\d{4}-\d\d-\d\dT/);
  const described = await run.describe();
  expect(await described.staticSummary()).toBe('removes what was kept for long enough');
  const { currentDetails } = await run.query<{ currentDetails: string }>('__temporal_workflow_metadata');
  expect(currentDetails).toContain('| contents of webhooks | 0 | ');
  const { events = [] } = await run.fetchHistory();
  const ids = events?.flatMap((event) => event.activityTaskScheduledEventAttributes?.activityId ?? []);
  expect(ids).toEqual(['logs', 'deliveries', 'statuses', 'quarantine', 'tokens', 'sources']);
  expect(events?.length).toBeLessThan(60);

  const { spec, policies } = await schedule.describe();
  expect(spec.intervals).toMatchObject([{ every: 600_000 }]);
  expect(policies).toMatchObject({ overlap: 'SKIP', catchupWindow: 60_000 });
});

test.concurrent('a schedule that somebody has paused or changed: the pause stays over a restart, the rest is ours', async (context) => {
  const { whorl, schedule } = await housed(context);
  await schedule.pause('we look at something');
  await schedule.update((now) => ({ ...now, spec: { intervals: [{ every: '5h' }] } }));
  const worker = await whorl.start('worker');
  await until('the interval is ours again', async () => {
    const { spec } = await schedule.describe();
    return spec.intervals?.[0]?.every === 600_000;
  });
  expect((await schedule.describe()).state).toMatchObject({ paused: true, note: 'we look at something' });
  await worker.stop();
});

test.concurrent('what cannot be done keeps nothing else: the run fails and says what, and the next one does it', async (context) => {
  const house = await housed(context);
  const { whorl, schedule } = house;
  await runOf(house, 1).then((first) => first.result());
  await whorl.sql`alter table deliveries rename to deliveries_away`;
  await whorl.sql`
    insert into quarantine (source, bytes, reason, received_at) values ('x', 'x', 'no', now() - interval '40 days')`;
  await schedule.trigger();
  const failing = await runOf(house, 2);
  const error: unknown = await failing.result().catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(WorkflowFailedError);
  expect((error as WorkflowFailedError).cause?.message).toMatch(
    /^Not everything could be done\. deliveries: .*deliveries/,
  );
  expect(await whorl.sql`select from quarantine`).toHaveLength(0);
  const { currentDetails } = await failing.query<{ currentDetails: string }>('__temporal_workflow_metadata');
  expect(currentDetails).toContain('does not exist');

  await whorl.sql`alter table deliveries_away rename to deliveries`;
  await schedule.trigger();
  const next = await runOf(house, 3);
  expect(await next.result()).toMatchObject({ deliveries: { removed: 0 } });
});

test.concurrent('a run that no worker takes waits for the next one', async (context) => {
  const house = await housed(context, []);
  const { whorl, schedule } = house;
  const first = await whorl.start('worker');
  await until('the schedule is there', () => isThere(schedule));
  await runOf(house, 1).then((run) => run.result());
  await first.stop();

  await schedule.trigger();
  const run = await runOf(house, 2);
  await whorl.start('worker');
  expect(await run.result()).toMatchObject({ deliveries: { removed: 0 }, sources: { removed: 0 } });
});

test.concurrent('a Temporal that is away keeps nobody waiting: the schedule is made when it is back', async () => {
  const warnings: string[] = [];
  const log = { warn: (_about: unknown, text: string) => warnings.push(text) } as never;
  const stopping = new AbortController();
  const client = openClient(temporalOn('127.0.0.1:1'));
  const keeping = keepSchedule({ client, taskQueue: 'away', log }, stopping.signal);
  await until('it has said so', () => warnings.length > 0, 60_000);
  stopping.abort();
  expect(await Promise.race([keeping.then(() => 'ended'), delay(20_000, 'late')])).toBe('ended');
  expect(warnings[0]).toContain('cannot set up the schedule');
  await client.connection.close();
});

test('a worker that is killed in the middle leaves the rest to another', async () => {
  const all = await fleet();
  const { sql, client, config } = all.whorl;
  const schedule = client.schedule.getHandle(houseName(config.taskQueue));
  await sql`
    insert into quarantine (source, bytes, reason, received_at)
    select 'x', n::text::bytea, 'no', now() - interval '40 days' + n * interval '1 second' from generate_series(1, 1200) as n`;
  const rows = async (): Promise<number> => (await sql`select from quarantine`).length;
  // The second batch of 500 cannot end.
  const killed = Promise.withResolvers<void>();
  const locked = sql.begin(async (tx) => {
    await tx`set local idle_in_transaction_session_timeout = 0`;
    await tx`select from quarantine where bytes = '700' for update`;
    await killed.promise;
  });
  onTestFinished(() => killed.resolve());
  const first = await all.start('worker');
  await until('the first batch is gone', async () => (await rows()) === 700, 30_000);
  first.signal('SIGKILL');
  onTestFinished(() => schedule.delete());
  await first.exited();
  // The next one waits for this one, the first included.
  await schedule.trigger(ScheduleOverlapPolicy.SKIP);
  await until('one was skipped', async () => (await schedule.describe()).info.numActionsSkippedOverlap > 0);
  expect((await schedule.describe()).info).toMatchObject({ numActionsTaken: 1, runningActions: [expect.anything()] });
  killed.resolve();
  await locked;

  await all.start('worker');
  const run = await runOf({ whorl: all.whorl, schedule }, 1);
  // Temporal takes a worker that has said nothing for a minute for lost.
  expect(await run.result()).toMatchObject({ quarantine: { removed: expect.any(Number) }, sources: { removed: 0 } });
  expect(await rows()).toBe(0);
  const { events = [] } = await run.fetchHistory();
  const attempts = events?.map((event) => event.activityTaskStartedEventAttributes?.attempt ?? 0) ?? [];
  expect(attempts.filter((attempt) => attempt > 0)).toEqual([1, 1, 1, 2, 1, 1]);
});
