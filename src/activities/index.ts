import type { Activities } from '../workflows/contract.ts';
import { type BuildDeps, buildActivities } from './builds.ts';
import { withFailures } from './failures.ts';
import { type StatusDeps, statusActivities } from './statuses.ts';

export const createActivities = (deps: BuildDeps & StatusDeps): Activities & Record<string, (input: never) => Promise<unknown>> =>
  withFailures({ ...buildActivities(deps), ...statusActivities(deps) });
