import type { Clock } from './clock.ts';
import { isOver } from './life.ts';
import type { Life, NewBuild } from './life.ts';
import { buildUrl } from './objects.ts';
import { Refusal } from './refusal.ts';
import type { Build, Job, Pipeline, Source, User } from './types.ts';
import type { World } from './world.ts';

/** What people and the API do to builds, with Buildkite's own refusals. */
export interface Actions {
  create(pipeline: Pipeline, given: NewBuild): Build;
  cancel(build: Build, reason?: string | null): void;
  rebuild(build: Build, source: Source, by: User | null): Build;
  retry(build: Build, job: Job, by: User | null): Job;
  /** Retries every job that ended in one of these states; says how many. */
  retryFailed(build: Build, states: readonly string[], by: User | null): number;
  unblock(build: Build, job: Job | undefined, by: User | null): void;
  /** Milliseconds until the lists know a new build; `manual`: not before `reindex`. */
  indexLag: number | 'manual';
  reindex(): void;
  stop(): void;
}

/** Makes the actions over a world, a life and a clock. */
export function createActions(world: World, life: Life, clock: Clock, indexLag: number | 'manual'): Actions {
  const timers = new Set<NodeJS.Timeout>();

  const index = (build: Build): void => {
    if (actions.indexLag === 0) build.indexed = true;
    if (actions.indexLag === 0 || actions.indexLag === 'manual') return;
    const timer = setTimeout(() => {
      timers.delete(timer);
      build.indexed = true;
      world.signal.notify();
    }, actions.indexLag);
    timers.add(timer);
  };

  const actions: Actions = {
    indexLag,
    create(pipeline, given) {
      const build = life.create(pipeline, given);
      index(build);
      clock.begin(build, given.rebuiltFrom ? 'rebuild' : 'create');
      world.signal.notify();
      return build;
    },
    cancel(build, reason = null) {
      const why = (text: string): Refusal => new Refusal(422, `Build can't be canceled because it's ${text}`);
      if (build.state === 'canceling') throw why('already being canceled');
      if (build.state === 'canceled') throw new Refusal(422, 'Build has already been canceled');
      if (isOver(build.state) && !build.blocked) throw why('already finished');
      build.cancelReason = reason;
      life.move(build, 'canceling');
      clock.follow(build, 'cancel');
    },
    rebuild(build, source, by) {
      const pipeline = world.pipeline(build.org, build.pipeline);
      if (!pipeline) throw new Refusal(404, 'No pipeline found');
      if (!pipeline.allowRebuilds) throw new Refusal(422, 'Rebuilds are not allowed for this pipeline');
      // The documented copies: commit, branch, message, env and pull request data. Not meta_data.
      return actions.create(pipeline, {
        commit: build.commit,
        branch: build.branch,
        message: build.message,
        env: { ...build.env },
        author: build.author,
        pullRequest: build.pullRequest,
        source,
        creator: by,
        rebuiltFrom: { id: build.id, number: build.number, url: buildUrl(world, build) },
      });
    },
    retry(build, job, by) {
      if (build.state === 'canceled' || build.state === 'canceling') {
        throw new Refusal(422, 'Jobs from canceled builds cannot be retried');
      }
      if (job.state !== 'failed' && job.state !== 'timed_out' && job.state !== 'canceled') {
        throw new Refusal(400, 'Only failed, timed out or canceled jobs can be retried');
      }
      // Documented is only that each job can be retried once; the text is ours.
      if (job.retriedInJobId !== null) throw new Refusal(422, 'This job has already been retried');
      const fresh = life.retry(build, job, by);
      clock.follow(build, 'retry');
      return fresh;
    },
    retryFailed(build, states, by) {
      if (build.state === 'canceled' || build.state === 'canceling') {
        throw new Refusal(422, 'Jobs from canceled builds cannot be retried');
      }
      const chosen = build.jobs.filter((job) => {
        const state = job.state === 'failed' && job.softFailed ? 'soft_failed' : job.state;
        return job.retriedInJobId === null && job.type === 'script' && states.includes(state);
      });
      for (const job of chosen) life.retry(build, job, by);
      if (chosen.length > 0) clock.follow(build, 'retry');
      return chosen.length;
    },
    unblock(build, job, by) {
      if (job && job.type !== 'manual') throw new Refusal(400, 'This job type cannot be unblocked');
      if (build.state === 'canceled') throw new Refusal(422, 'Jobs from canceled builds cannot be unblocked');
      life.unblock(build, job, by);
      clock.follow(build, 'unblock');
    },
    reindex() {
      for (const build of world.builds) build.indexed = true;
      world.signal.notify();
    },
    stop() {
      for (const timer of timers) clearTimeout(timer);
    },
  };
  return actions;
}
