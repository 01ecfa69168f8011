import { buildkiteKeys, planBuildkite } from './buildkite/plan.ts';
import { fakeKeys, planFake } from './fake/plan.ts';
import type { Plan } from './provider.ts';

/** What the planners need of the configuration. A provider that is absent is not there for workflow files either. */
export interface PlannerOptions {
  /** `org`: the organisation of workflow files that name none. */
  buildkite?: { org?: string | undefined } | undefined;
}

/** The keys that a workflow file may have under `tack.<provider>`. Others are tack's, or mistakes: they change nothing. */
export const targetKeys: Readonly<Record<string, readonly string[]>> = { buildkite: buildkiteKeys, fake: fakeKeys };

/** A planner for each provider that can be used, by its key under `tack:`. Pure. */
export function planners({ buildkite }: PlannerOptions): Record<string, Plan> {
  // Without a prototype: the keys come from workflow files, and `constructor` is no provider.
  const known: Record<string, Plan> = Object.create(null);
  if (buildkite) known['buildkite'] = planBuildkite(buildkite);
  known['fake'] = planFake;
  return known;
}
