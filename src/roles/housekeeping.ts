import { setTimeout as delay } from 'node:timers/promises';
import { type Client, ScheduleAlreadyRunning, ScheduleOverlapPolicy } from '@temporalio/client';
import type { ScheduleOptions } from '@temporalio/client';
import type { Logger } from 'pino';

/** Several spindles may share a namespace, and each has a task queue of its own. */
export const houseName = (taskQueue: string): string => `housekeeping-${taskQueue}`;

const callMs = 10_000;

export interface HouseSchedule {
  client: Client;
  taskQueue: string;
  log: Logger;
  /** default 10 minutes */
  every?: number | undefined;
}

/**
 * Makes sure, in the background, that Temporal has our schedule `housekeeping`, as this release wants it. Whether somebody
 * has paused it stays. No failure of it fails anybody: it is tried again until it is there or the signal ends it.
 */
export async function keepSchedule(house: HouseSchedule, signal: AbortSignal): Promise<void> {
  for (let wait = 1_000; !signal.aborted; wait = Math.min(60_000, wait * 2)) {
    try {
      await house.client.withDeadline(Date.now() + callMs, () =>
        house.client.withAbortSignal(signal, () => put(house)),
      );
      return;
    } catch (error) {
      if (signal.aborted) return;
      house.log.warn({ err: error }, 'cannot set up the schedule for housekeeping at Temporal; trying again');
      await delay(wait, undefined, { signal }).catch(() => {});
    }
  }
}

async function put({ client, taskQueue, every = 600_000 }: HouseSchedule): Promise<void> {
  const wanted = options(taskQueue, every);
  try {
    const schedule = await client.schedule.create(wanted);
    // As the schedule itself starts them: a first run that it does not count would not keep it from the next.
    await schedule.trigger(ScheduleOverlapPolicy.SKIP);
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    const { action, policies, spec } = wanted;
    await client.schedule.getHandle(wanted.scheduleId).update(({ state }) => ({ action, policies, spec, state }));
  }
}

const options = (taskQueue: string, every: number) =>
  ({
    scheduleId: houseName(taskQueue),
    spec: { intervals: [{ every }] },
    action: {
      type: 'startWorkflow',
      workflowType: 'housekeeping',
      workflowId: houseName(taskQueue),
      taskQueue,
      args: [],
      // What no worker takes, or none can end, makes room for the next one.
      workflowExecutionTimeout: '2h',
      staticSummary: 'removes what was kept for long enough',
    },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1m' },
    state: {
      note: 'Made by Whorl. It may be paused; other changes are undone at the next start.',
    },
  }) satisfies ScheduleOptions;
