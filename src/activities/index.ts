import type { Activities } from '../workflows/contract.ts';
import { type BuildDeps, buildActivities } from './builds.ts';
import { withFailures } from './failures.ts';
import { type LogDeps, logActivities } from './logs.ts';
import { secretMask } from './mask.ts';
import { type StatusDeps, statusActivities } from './statuses.ts';

export type ActivityDeps = BuildDeps &
  Omit<StatusDeps, 'mask'> &
  Omit<LogDeps, 'mask'> & {
    /** What must not be seen in logs and failures. Asked at each use. */
    secrets: () => readonly string[];
  };

export const createActivities = ({
  secrets,
  ...deps
}: ActivityDeps): Activities & Record<string, (input: never) => Promise<unknown>> => {
  const mask = secretMask(secrets);
  return {
    ...withFailures(buildActivities(deps), { mask }),
    // No step of a job can be parked for these, and to give up would end the pipeline: they stay pending, for all to see.
    ...withFailures(statusActivities({ ...deps, mask }), { mask, tries: Infinity }),
    ...withFailures(logActivities({ ...deps, mask }), { mask }),
  };
};
