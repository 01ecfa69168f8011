import { randomUUID } from 'node:crypto';
import { endings, hasEnded, jobNamed, named, newJob, openJobs, settleJob } from './jobs.ts';
import type { Agent } from './agent.ts';
import { logOf } from './log.ts';
import type { Build, BuildEvent, BuildState, Job, JobOutcome, JobPlan, JobState, Outcomes, User } from './types.ts';
import type { Pipeline } from './types.ts';
import type { World } from './world.ts';

/** Tells the webhooks that something happened. */
export type Emit = (event: BuildEvent, build: Build, job?: Job) => void;

export type NewBuild = Pick<Build, 'commit' | 'branch' | 'source' | 'creator'> &
  Partial<Pick<Build, 'message' | 'env' | 'metaData' | 'author' | 'pullRequest' | 'rebuiltFrom'>>;

/** The states a build may be told to go to. */
export type Target = BuildState | 'blocked' | 'unblocked';

/** Moves builds and jobs through their states, and emits what Buildkite emits on the way. */
export interface Life {
  /** Makes a build, `creating` or at once `scheduled`. Nothing is emitted before `scheduled`. */
  create(pipeline: Pipeline, given: NewBuild): Build;
  move(build: Build, to: Target, jobs?: Outcomes): void;
  moveJob(build: Build, job: string, to: JobState | JobOutcome): void;
  /** A new job for an ended one. The build runs again, also after its end. */
  retry(build: Build, job: Job, by: User | null): Job;
  unblock(build: Build, job: Job | undefined, by: User | null): void;
  setJobs(build: Build, plans: readonly JobPlan[]): void;
}

/** True when nothing moves a build in this state except a person. */
export const isOver = (state: BuildState): boolean =>
  state === 'passed' || state === 'failed' || state === 'canceled' || state === 'skipped' || state === 'not_run';

/** Makes the life of all builds of a world. */
export function createLife(world: World, emit: Emit, agent: Agent): Life {
  const addJob = (build: Build, job: Job): void => {
    build.jobs.push(job);
    world.addJob(build, job);
  };

  const markOpen = (build: Build): void =>
    world.setOpen(build, !isOver(build.state) || build.blocked || openJobs(build.jobs).length > 0);

  const record = (build: Build): void => {
    markOpen(build);
    const last = build.history.at(-1);
    if (last?.state !== build.state || last.blocked !== build.blocked) {
      build.history.push({ state: build.state, blocked: build.blocked, at: world.now() });
    }
    world.signal.notify();
  };

  const toJob = (build: Build, job: Job, outcome: JobState | JobOutcome): void => {
    const { state: before, startedAt } = job;
    settleJob(job, outcome, world.now());
    if (job.type === 'script') {
      if (job.state === 'running' && startedAt === null) agent.started(build, job);
      if (typeof outcome === 'object' && outcome.log !== undefined) logOf(job).append(outcome.log);
      if (hasEnded(job) && job.state !== before) agent.ended(build, job);
    }
    if (job.state === before) return;
    if (job.state === 'scheduled') emit('job.scheduled', build, job);
    if (job.state === 'running') emit('job.started', build, job);
    // A job that cannot run by its configuration has no event of its own: nothing happened.
    if (hasEnded(job) && job.state !== 'broken' && job.state !== 'skipped') emit('job.finished', build, job);
  };

  const run = (build: Build): void => {
    const again = build.finishedAt !== null;
    if (build.startedAt === null || again) build.startedAt = world.now();
    build.finishedAt = null;
    if (build.state !== 'running') {
      build.state = 'running';
      record(build);
      emit('build.running', build);
    }
  };

  const end = (build: Build, state: BuildState & Parameters<typeof endings>[1], jobs?: Outcomes): void => {
    for (const [job, outcome] of endings(build.jobs, state, jobs)) toJob(build, job, outcome);
    for (const job of build.jobs) {
      // A wait is nobody's work, so nothing tells of its end.
      if (job.type === 'waiter' && !hasEnded(job)) job.state = state === 'passed' ? 'passed' : 'waiting_failed';
    }
    build.state = state;
    build.blocked = false;
    build.blockedState = '';
    build.finishedAt = world.now();
    if (build.startedAt === null && build.jobs.some((job) => job.startedAt !== null)) build.startedAt = world.now();
    record(build);
    if (state === 'skipped') emit('build.skipped', build);
    // No documented event tells of a build that was not run: only reading it does.
    else if (state !== 'not_run') emit('build.finished', build);
  };

  const block = (build: Build): void => {
    for (const job of openJobs(build.jobs)) {
      if (job.state === 'running') toJob(build, job, 'passed');
      else job.state = 'waiting';
    }
    if (!build.jobs.some((job) => job.type === 'manual' && job.state === 'blocked')) {
      addJob(build, newJob({ name: 'Approve', key: 'approve', command: '', type: 'manual' }, world.now()));
    }
    build.state = 'passed';
    build.blocked = true;
    build.blockedState = 'passed';
    build.finishedAt = world.now();
    record(build);
    emit('build.finished', build);
  };

  const life: Life = {
    create(pipeline, given) {
      const now = world.now();
      const build: Build = {
        id: randomUUID(),
        org: pipeline.org,
        pipeline: pipeline.slug,
        number: world.nextNumber(pipeline),
        message: null,
        env: {},
        author: null,
        pullRequest: null,
        rebuiltFrom: null,
        ...given,
        metaData: { ...given.metaData },
        createdAt: now,
        state: 'creating',
        blocked: false,
        blockedState: '',
        cancelReason: null,
        scheduledAt: null,
        startedAt: null,
        failingAt: null,
        finishedAt: null,
        indexed: false,
        jobs: [],
        history: [],
      };
      world.add(build);
      record(build);
      return build;
    },

    setJobs(build, plans) {
      for (const plan of plans) addJob(build, newJob(plan, world.now()));
    },

    move(build, to, jobs) {
      switch (to) {
        case 'scheduled':
          build.state = 'scheduled';
          build.scheduledAt ??= world.now();
          record(build);
          emit('build.scheduled', build);
          for (const job of build.jobs) if (job.state === 'pending') toJob(build, job, 'scheduled');
          break;
        case 'running': {
          run(build);
          const given = named(build.jobs, jobs);
          for (const job of openJobs(build.jobs)) toJob(build, job, given.get(job) ?? 'running');
          break;
        }
        case 'failing':
          run(build);
          for (const [job, outcome] of named(build.jobs, jobs)) toJob(build, job, outcome);
          build.state = 'failing';
          build.failingAt ??= world.now();
          record(build);
          emit('build.failing', build);
          break;
        case 'canceling':
          for (const job of openJobs(build.jobs)) if (job.state === 'running') job.state = 'canceling';
          build.state = 'canceling';
          build.finishedAt = null;
          record(build);
          break;
        case 'passed':
        case 'failed':
        case 'canceled':
        case 'skipped':
        case 'not_run':
          end(build, to, jobs);
          break;
        case 'blocked':
          block(build);
          break;
        case 'unblocked':
          life.unblock(build, undefined, null);
          break;
        case 'creating':
        case 'waiting':
        case 'waiting_failed':
          build.state = to;
          record(build);
          break;
      }
    },

    moveJob(build, name, to) {
      const job = jobNamed(build.jobs, name);
      const state = typeof to === 'string' ? to : to.state;
      if (state === 'running' && !isOver(build.state)) run(build);
      toJob(build, job, to);
      markOpen(build);
      world.signal.notify();
    },

    retry(build, old, by) {
      const now = world.now();
      const { name, key, command, parallel } = old;
      const job = newJob({ name, key, command, ...(parallel ? { parallel } : {}) }, now);
      job.retriesCount = old.retriesCount + 1;
      job.retrySource = { jobId: old.id, type: 'manual', by };
      old.retriedInJobId = job.id;
      addJob(build, job);
      run(build);
      toJob(build, job, 'scheduled');
      world.signal.notify();
      return job;
    },

    unblock(build, job, by) {
      const gate = job ?? build.jobs.find((one) => one.type === 'manual' && one.state === 'blocked');
      if (!gate)
        throw new Error(`build ${build.number} of ${build.org}/${build.pipeline} has no block step that waits`);
      gate.state = 'unblocked';
      gate.unblockedBy = by;
      gate.finishedAt = world.now();
      build.blocked = false;
      build.blockedState = '';
      for (const one of build.jobs) if (one.state === 'waiting') toJob(build, one, 'scheduled');
      emit('job.activated', build, gate);
      run(build);
    },
  };
  return life;
}
