import { planBuildkite } from './buildkite/plan.ts';
import { planFake } from './fake/plan.ts';
import type { Plan } from './provider.ts';

/** What the planners need of the configuration. A provider that is absent is not there for workflow files either. */
export interface PlannerOptions {
  /** `org`: the organisation of workflow files that name none. */
  buildkite?: { org?: string | undefined } | undefined;
}

/** A planner for each provider that can be used, by its key under `tack:`. Pure. */
export function planners({ buildkite }: PlannerOptions): Record<string, Plan> {
  // Without a prototype: the keys come from workflow files, and `constructor` is no provider.
  const known: Record<string, Plan> = Object.create(null);
  if (buildkite) known['buildkite'] = planBuildkite(buildkite);
  known['fake'] = planFake;
  return known;
}
