import type { Activities } from '../workflows/contract.ts';
import { type BuildDeps, buildActivities } from './builds.ts';
import { withFailures } from './failures.ts';
import { type StatusDeps, statusActivities } from './statuses.ts';

export const createActivities = (
  deps: BuildDeps & StatusDeps,
): Activities & Record<string, (input: never) => Promise<unknown>> => ({
  ...withFailures(buildActivities(deps)),
  // No step of a job can be parked for these, and to give up would end the pipeline: they stay pending, for all to see.
  ...withFailures(statusActivities(deps), Infinity),
});
