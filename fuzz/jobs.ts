import type { Target } from './target.ts';
import type { Job } from './thread.ts';

/** Runs of one part: short enough that a table grows while one looks at it. */
const partRuns = 5_000;
/** After so many runs of all targets the heap is measured. */
const measureEvery = 100_000;

/** Divides runs among targets by their weights, in parts that take turns. The same for the same numbers. */
export function shareOut(
  targets: readonly Pick<Target, 'name' | 'weight'>[],
  runs: number,
  seed: number,
  most = partRuns,
): Job[] {
  const all = targets.reduce((sum, { weight }) => sum + weight, 0);
  const left = targets.map(({ name, weight }) => ({
    name,
    part: 0,
    runs: Math.max(1, Math.round((runs * weight) / all)),
  }));
  const jobs: Job[] = [];
  let since = 0;
  while (left.some((each) => each.runs > 0)) {
    for (const each of left) {
      const some = Math.min(most, each.runs);
      if (some <= 0) continue;
      since += some;
      const measure = since >= measureEvery;
      if (measure) since = 0;
      jobs.push({ target: each.name, seed, part: each.part, runs: some, ...(measure ? { measure } : {}) });
      each.part += 1;
      each.runs -= some;
    }
  }
  return jobs;
}
