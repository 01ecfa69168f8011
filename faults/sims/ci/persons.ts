import type { Build, BuildkiteSim } from '../../../sim/buildkite/index.ts';
import type { CiPerson } from '../../contract.ts';
import { pickOf } from '../dice.ts';

/** A person only looks at the newest builds. */
const RECENT = 40;

const over = ({ state, blocked }: Build): boolean =>
  !blocked && ['passed', 'failed', 'canceled', 'skipped', 'not_run'].includes(state);
const isRunning = ({ state, blocked }: Build): boolean =>
  blocked || ['scheduled', 'running', 'failing'].includes(state);
const failedJobs = ({ state, jobs }: Build) =>
  state === 'failed'
    ? jobs.filter((job) => (job.state === 'failed' || job.state === 'timed_out') && job.retriedInJobId === null)
    : [];

/** What a person does to one of our newest builds; says what, or undefined when none is fit for it. */
export function act(sim: BuildkiteSim, ours: readonly string[], what: CiPerson, pick: number): string | undefined {
  const recent = ours.slice(-RECENT).map((id) => sim.build(id));
  const name = (build: Build): string => `build ${build.org}/${build.pipeline} #${build.number} (${build.id})`;
  switch (what) {
    case 'rebuild': {
      const build = pickOf(recent.filter(over), pick);
      return build && `rebuilds ${name(build)} as #${sim.rebuild(build.id).number}`;
    }
    case 'cancel': {
      const build = pickOf(recent.filter(isRunning), pick);
      if (build) sim.cancel(build.id, 'a person has cancelled it');
      return build && `cancels ${name(build)}, ${build.blocked ? 'blocked' : build.state}`;
    }
    case 'retry-job': {
      const build = pickOf(
        recent.filter((one) => over(one) && failedJobs(one).length > 0),
        pick,
      );
      const job = build && failedJobs(build)[0];
      if (job) sim.retryJob(build.id, job.id);
      return job && `retries job ${job.key} of ${name(build)}`;
    }
  }
}
