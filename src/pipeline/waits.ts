import type { Durations } from './durations.ts';
import { currentBuild, type Job, standing } from './job.ts';
import { isEnd } from './status.ts';
import { todo, type Todo, type Wait, wait } from './wait.ts';

/** What is looked at of a job in a workflow's state. Times are ms since 1970. */
export interface JobState {
  name: string;
  job: Job;
  parked: { step: string; cause: string; message: string; since: number } | null;
  creating: number | null;
  stopping: { attempt: number; why: 'cancel' | 'deadline'; by: string; reason?: string } | null;
  doubts: { attempt: number; due: number[] }[];
  held: Record<string, { until: number }>;
  owed: { at: number; since: number } | null;
  heardAt: number;
  quiet: number;
  startedAt: number;
}

export interface PipelineState {
  id: string;
  durations: Pick<Durations, 'deadline' | 'parkLimit' | 'resend'>;
  runs: readonly JobState[];
  firstShown: number | null;
  resent: boolean;
  /** Opened again for a word that may come until then. */
  expecting: number | null;
  /** Jobs whose status is not out yet. */
  unpublished: readonly string[];
  /** Jobs whose log is not here whole although they have ended. */
  unlogged: readonly string[];
}

/** What a running workflow waits for, by its own state. */
export function waitsOf(p: PipelineState): Wait[] {
  return [
    ...p.runs.flatMap((run) => [...(hasEnded(run) ? afterEnd(p, run) : beforeEnd(p, run))]),
    ...p.unpublished.map((job) => wait('publishing', 'its status to be published', { job })),
    ...(p.expecting === null
      ? []
      : [wait('reopened', 'the word that it was opened again for', { limit: { at: p.expecting, what: 'it ends' } })]),
    ...(p.firstShown === null || p.resent
      ? []
      : [
          wait('resend', 'the time to send the latest statuses once more', {
            since: p.firstShown,
            next: { at: p.firstShown + p.durations.resend, what: 'they are sent' },
          }),
        ]),
    ...p.unlogged.map((job) => wait('log', 'its log to be brought home', { job })),
  ];
}

const hasEnded = ({ job }: JobState): boolean => isEnd(standing(job).status);

function* beforeEnd({ id, durations }: PipelineState, run: JobState): Generator<Wait> {
  const { name, parked, stopping, creating, startedAt } = run;
  const build = currentBuild(run.job);
  const deadline = { at: startedAt + durations.deadline, what: 'it is stopped as a timeout' };
  if (parked) yield parkedWait(id, name, parked, durations.parkLimit);
  if (stopping) {
    const because = stopping.reason === undefined ? '' : ` (${stopping.reason})`;
    const who = stopping.why === 'cancel' ? `asked for by ${stopping.by}${because}` : 'after its deadline';
    yield wait('cancelling', `the CI to stop the build, ${who}`, { job: name });
  }
  if (parked || stopping) return;
  if (build !== undefined) yield ciWait(run, build, deadline);
  else if (creating !== null) yield createWait(name, startedAt, deadline);
}

/** Waits for the operator. Shared with what the database tells of it. */
export function parkedWait(
  id: string,
  job: string,
  { step, cause, message, since }: { step: string | null; cause: string; message: string; since: number | null },
  parkLimit: number | null,
): Wait {
  const then = step === 'cancel' ? 'it is given up' : 'the job is failed';
  return wait('parked', `the operator (${step === null ? cause : `${cause} at ${step}`}): ${message}`, {
    job,
    since,
    limit: since === null || parkLimit === null ? null : { at: since + parkLimit, what: then },
    todo: [
      { text: cures[cause] ?? cures['Internal'] ?? '' },
      todo('Then, or by the update retryStep in the Temporal UI', 'whorl', 'retry', id, job),
    ],
    person: true,
  });
}

const cures: Record<string, string> = {
  CredentialsRejected: 'Give the workers a token that the CI accepts; a token file is read again without a restart.',
  TargetMissing: 'Make what is missing at the CI, or configure the CI that is asked for.',
  Forbidden: 'Give the token the right that it lacks, or put the repository on the allow-list.',
  Internal: 'Nobody foresaw this: see the log of the workers.',
};

const createWait = (job: string, since: number, limit: Wait['limit']): Wait =>
  wait('create', 'the CI to make its build', { job, since, limit });

function ciWait(run: JobState, build: string, limit: Wait['limit']): Wait {
  const { name: job, heardAt, quiet, held } = run;
  const told = held[build];
  if (told)
    return wait('unexplained', `a read of build ${build}, which failed in a way that only a read explains`, {
      job,
      since: heardAt,
      limit: { at: told.until, what: 'the webhook is taken as it is' },
    });
  const running = standing(run.job).status === 'running';
  return wait(running ? 'running' : 'starting', `the CI to ${running ? 'end' : 'start'} build ${build}`, {
    job,
    since: heardAt,
    next: { at: heardAt + quiet, what: 'the CI is asked, if no webhook came' },
    limit,
  });
}

function* afterEnd(
  { durations }: PipelineState,
  { name: job, owed, doubts, held, job: state }: JobState,
): Generator<Wait> {
  if (owed)
    yield wait('owed-read', 'a read of its build that could not be made', {
      job,
      since: owed.since,
      next: { at: owed.at, what: 'it is tried again' },
      limit: { at: owed.since + durations.parkLimit, what: 'the end stays as it is known' },
    });
  for (const [build, { until }] of Object.entries(held))
    if (Object.values(state.bound).includes(build))
      yield wait('unexplained', `a read of build ${build}`, {
        job,
        limit: { at: until, what: 'the webhook is taken as it is' },
      });
  for (const { attempt, due } of doubts)
    yield wait('doubt', `builds of attempt ${attempt} that may still surface, because a create had no answer`, {
      job,
      next: due[0] === undefined ? null : { at: due[0], what: 'the CI is searched once more' },
    });
}

/** For a person who does not want to wait for the next try of an activity. */
export const sooner = (workflow: string, activity: string): Todo =>
  todo(
    'Sooner, here or by Reset in the Temporal UI',
    'temporal',
    'activity',
    'reset',
    '--workflow-id',
    workflow,
    '--activity-id',
    activity,
  );
