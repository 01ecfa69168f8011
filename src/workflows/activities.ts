import { ActivityCancellationType, proxyActivities, workflowInfo } from '@temporalio/workflow';
import type { Durations } from '../pipeline/durations.ts';
import { logQueue } from '../pipeline/ids.ts';
import type { Activities } from './contract.ts';

export type ActivityCalls = ReturnType<typeof activitiesFor>;

/**
 * Attempts are not limited: an activity that waits for its next one is pending in the Temporal UI, with its last
 * failure, and can be reset there. What only a person can mend comes back as a failure that is not retried.
 */
export function activitiesFor(durations: Durations) {
  // Temporal refuses a policy whose first wait is longer than its longest.
  const waits = (first: number, most: number) => ({
    initialInterval: Math.min(first, most),
    backoffCoefficient: 2,
    maximumInterval: most,
  });
  const retry = waits(durations.retryFirst, durations.retryMax);
  const cancellationType = ActivityCancellationType.TRY_CANCEL;
  const builds = proxyActivities<Activities>({ startToCloseTimeout: durations.createTimeout, retry, cancellationType });
  const reads = proxyActivities<Activities>({ startToCloseTimeout: durations.readTimeout, retry, cancellationType });
  const rows = proxyActivities<Activities>({
    startToCloseTimeout: durations.publishTimeout,
    retry: waits(Math.min(200, durations.retryFirst), durations.retryMax / 4),
  });
  // A queue of their own: bringing logs takes long, and nothing that matters more may wait behind it.
  const logs = proxyActivities<Activities>({
    taskQueue: logQueue(workflowInfo().taskQueue),
    startToCloseTimeout: '15m',
    heartbeatTimeout: '30s',
    scheduleToCloseTimeout: '24h',
    retry,
    cancellationType,
  });
  return {
    create: builds.create,
    search: builds.search,
    stop: builds.stop,
    adopt: builds.adopt,
    read: reads.read,
    publish: rows.publish,
    reopen: rows.reopen,
    bring: logs.bring,
  };
}
