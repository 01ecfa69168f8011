import { ApplicationFailure, CancelledFailure } from '@temporalio/activity';
import { ApplicationFailureCategory } from '@temporalio/common';
import type { Context } from '@temporalio/activity';
import type { ActivityInterceptors } from '@temporalio/worker';
import { secondsSince } from '../metrics/bounded.ts';
import { activities, activityTries } from '../metrics/index.ts';
import { failureOf } from '../pipeline/failures.ts';
import { parsePipelineId } from '../pipeline/ids.ts';
import { isTracing, type Said, traced } from '../tracing/index.ts';

/** Attempts up to this are what a service that stumbles costs. */
const usualAttempts = 5;

/** Counts each attempt of each activity, and makes it a span of its pipeline's trace. */
export const measuredActivities = ({ info }: Context): ActivityInterceptors => ({
  inbound: {
    async execute(input, next) {
      const began = performance.now();
      const { activityType: activity, attempt } = info;
      if (attempt > usualAttempts && activity !== followed) activityTries.inc({ activity });
      const run = async (say: (more: Said) => void): Promise<unknown> => {
        const end = (outcome: string): void => {
          activities.observe({ activity, outcome }, secondsSince(began));
          say({ 'whorl.outcome': outcome });
        };
        try {
          const result = await next(input);
          end('done');
          return result;
        } catch (error) {
          end(outcomeOf(error));
          throw error;
        }
      };
      const pipeline = info.workflowExecution?.workflowId ?? '';
      if (!isTracing() || !parsePipelineId(pipeline)) return run(() => {});
      const [about] = input.args as [{ job?: string } | undefined];
      const said = { 'whorl.attempt': attempt, ...(about?.job === undefined ? {} : { 'whorl.job': about.job }) };
      return traced({ pipeline, run: info.workflowExecution?.runId, name: `activity ${activity}`, said }, run);
    },
  },
});

/** A log is followed by failing on purpose. */
const followed = 'bring';

/** `done`, `cancelled`, `again` (nothing is wrong), or the class of the failure. */
export function outcomeOf(error: unknown): string {
  if (error instanceof CancelledFailure) return 'cancelled';
  if (!(error instanceof ApplicationFailure)) return 'Internal';
  return error.category === ApplicationFailureCategory.BENIGN ? 'again' : failureOf(error.type);
}
