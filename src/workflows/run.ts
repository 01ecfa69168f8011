import {
  attemptOf,
  bind,
  currentBuild,
  hear,
  interpret,
  type Job,
  merge,
  newJob,
  resolution,
  say,
  standing,
} from '../pipeline/job.ts';
import { isNews } from '../pipeline/news.ts';
import { isEnd, type Status } from '../pipeline/status.ts';
import type { Fact, Observation } from '../pipeline/words.ts';
import type { Kept, Rebuild, Shown } from './contract.ts';
import { type LogRun, newLog } from './log-run.ts';
import type { JobInput } from './messages.ts';

/** A step that waits for a person. */
export interface Parked {
  step: string;
  cause: string;
  message: string;
  since: number;
}

/** Everything the workflow knows about one job. Plain data: it survives continue-as-new and is kept for reopening. */
export interface JobRun {
  name: string;
  pollMs: number | null;
  /** There is nothing to run: the author's mistake. */
  refusal: string | null;
  job: Job;
  /** The last attempt that was given out. */
  attempts: number;
  /** Key of the status that was published last. */
  shown: string | null;
  /** Key of the status that the database has, while one that differs waits until the CI was asked. */
  told?: string | null;
  /** The attempt whose build is being created. */
  creating: number | null;
  /** Command that asked for the attempt being created. */
  command: string | null;
  parked: Parked | null;
  /** We asked the CI to stop this attempt. */
  stopping: { attempt: number; why: 'cancel' | 'deadline'; by: string; reason?: string } | null;
  /** Attempts whose create once had an unknown outcome, with what is left to look again. */
  doubts: { attempt: number; due: number[] }[];
  /** Failures by notice that wait for the read that explains them, by build. */
  held: Record<string, { seen: Observation; until: number }>;
  /** Who first told of the end of a build: the last one that ended. Absent in what older releases carried over. */
  learnt?: { build: string; from: 'webhook' | 'read' };
  /** What people made of a build that is not known yet. Absent in what older releases carried over. */
  rebuilds?: Rebuild[];
  wantRead: boolean;
  /** A read of an ended job that could not be made: when to try again, and since when it is owed. */
  owed: { at: number; since: number } | null;
  searchAt: number | null;
  /** Counts the CI's words, so that a read that was overtaken by one proves nothing. */
  words: number;
  heardAt: number;
  quiet: number;
  startedAt: number;
  note: string | null;
  /** What the log says at its end besides what the CI wrote. Absent in what older releases carried over. */
  remark?: string;
  /** The step that the CI told of last. */
  step: Observation['step'] | null;
  log: LogRun;
}

export function newRun(input: JobInput, now: number, quiet: number): JobRun {
  const run: JobRun = {
    name: input.name,
    pollMs: input.pollMs ?? null,
    refusal: input.refusal ?? null,
    job: newJob(),
    attempts: 1,
    shown: null,
    creating: null,
    command: null,
    parked: null,
    stopping: null,
    doubts: [],
    held: {},
    wantRead: false,
    owed: null,
    searchAt: null,
    words: 0,
    heardAt: now,
    quiet: input.pollMs ?? quiet,
    startedAt: now,
    note: null,
    step: null,
    log: newLog(newJob()),
  };
  if (input.refusal !== undefined) speak(run, 1, 'failed', input.refusal);
  if (input.kept) takeUp(run, input.kept);
  return run;
}

/**
 * Adds what an earlier run left. What was published is not published again; when `shown` is absent, that is all that is
 * kept. Readers may have heard more than a restored database knows, so only an end is said before the CI was asked.
 */
export function takeUp(run: JobRun, kept: Kept, shown?: Shown | null): void {
  run.job = merge(run.job, kept.job);
  run.attempts = Math.max(run.attempts, kept.attempts);
  run.note ??= kept.note;
  run.log = { ...run.log, brought: { ...newLog(kept.job).brought, ...run.log.brought } };
  const fact = standing(kept.job);
  const told = shown && showKey(shown, kept.note);
  if (told !== undefined && isEnd(fact.status)) run.shown ??= told;
  else {
    run.shown ??= showKey(fact, kept.note);
    if (told !== undefined) run.told = told;
  }
}

/** Whether what was published is all that is kept. */
export const isSaid = ({ job, note }: Kept, shown: Shown | null): boolean =>
  shown !== null && showKey(shown, note) === showKey(standing(job), note);

export const keep = ({ job, attempts, note }: JobRun): Kept => ({ job, attempts, note });

/** What the forge should be told: where the job stands, with the reason if it waits for a person. */
export function toShow(run: JobRun): Fact {
  const fact = standing(run.job);
  return run.parked && !isEnd(fact.status) ? { ...fact, error: parkedText(run.parked) } : fact;
}

/** Tells whether something is to be published: what the forge is told, and what is kept with it for people. */
export const showKey = (fact: Shown, note: string | null): string =>
  JSON.stringify([fact.attempt, fact.epoch, fact.status, fact.error ?? null, fact.exitCode ?? null, note]);

export const parkedText = ({ step, message }: Parked): string => `Waiting for the operator (${step}): ${message}`;

/** How the end of an attempt was first learnt. */
export function learnt(run: JobRun, fact: Fact): 'webhook' | 'read' | 'self' {
  if (fact.by === 'self') return 'self';
  return run.learnt && run.learnt.build === run.job.bound[fact.attempt] ? run.learnt.from : 'read';
}

/** For the ids of activities: people read them. */
export const attemptName = (run: JobRun, attempt: number): string =>
  attempt === 1 ? run.name : `${run.name}#${attempt}`;

export const hasEnded = (run: JobRun): boolean => isEnd(standing(run.job).status);

/** The build that is to be read: the present attempt's. An attempt without a build has nothing to ask about. */
export const toRead = (run: JobRun): string | undefined => (run.wantRead ? currentBuild(run.job) : undefined);

/** Our own word about an attempt. */
export function speak(run: JobRun, attempt: number, status: Status, error?: string): void {
  const { epoch } = standing(run.job);
  run.job = say(run.job, { attempt, epoch, status, by: 'self', at: 0, ...(error === undefined ? {} : { error }) });
}

/**
 * A build that somebody else made begins an attempt. What was heard of it before counts, so the attempt begins in the
 * epoch of that and not in a later one, in which another build went on.
 */
export function takeOver(run: JobRun, attempt: number, build: string): void {
  const epoch = run.job.builds[build]?.epoch ?? standing(run.job).epoch;
  run.job = say(run.job, { attempt, epoch, status: 'pending', by: 'self', at: 0 });
}

/** The attempt's build is known from now on. A failure that was held for it is read at once. */
export function bound(run: JobRun, attempt: number, build: string): void {
  run.job = bind(run.job, attempt, build);
  run.searchAt = null;
  if (run.held[build] && currentBuild(run.job) === build) run.wantRead = true;
}

/** Folds what the CI said. Returns the epoch that the pipeline is in afterwards. */
export function observe(
  run: JobRun,
  seen: Observation,
  from: 'notice' | 'read',
  at: { epoch: number; now: number; unsure: number },
): number {
  const { epoch, now } = at;
  if (isEnd(seen.status) && run.learnt?.build !== seen.build)
    run.learnt = { build: seen.build, from: from === 'notice' ? 'webhook' : 'read' };
  const attempt = attemptOf(run.job, seen.build);
  const known = run.job.builds[seen.build];
  if (from === 'notice' && attempt !== undefined && known && isEnd(known.status) && !isNews(run.job, seen))
    return epoch;
  const meaning = interpret(run.job, honest(run, attempt, seen), from, epoch);
  if (meaning.kind === 'old') return epoch;
  if (meaning.kind === 'read') {
    // What an earlier attempt does has no say any more.
    if (seen.build === currentBuild(run.job)) run.wantRead = true;
    if (seen.unsure) hold(run, seen, now + at.unsure);
    return epoch;
  }
  if (known && meaning.word.epoch > known.epoch) run.startedAt = now;
  run.job = hear(run.job, seen.build, meaning.word);
  // An older notice that comes late explains no failure.
  if (from === 'read' || isEnd(seen.status)) delete run.held[seen.build];
  run.words += 1;
  run.heardAt = now;
  return Math.max(epoch, meaning.word.epoch);
}

/** The read that should explain a failure did not come in time: take the notice as it is. */
export function settleHeld(run: JobRun, epoch: number, now: number): void {
  for (const [build, { seen, until }] of Object.entries(run.held)) {
    if (until > now || attemptOf(run.job, build) === undefined) continue;
    // Whatever comes of it, it is no longer held: what stays due for ever would keep the clock from waiting.
    delete run.held[build];
    const { unsure: _, ...sure } = seen;
    observe(run, sure, 'notice', { epoch, now, unsure: 0 });
  }
}

/**
 * A build that was cancelled because we ran out of time was a time-out, also when the CI is asked again later. The CI
 * knows nothing of our deadline, nor of who cancelled by us, and why.
 */
function honest(run: JobRun, attempt: number | undefined, seen: Observation): Observation {
  if (seen.status !== 'cancelled' || attempt === undefined) return seen;
  const known = run.job.builds[seen.build];
  const { own } = run.job;
  const again = known?.status === 'timeout' && Math.abs(seen.at - known.at) < resolution;
  const late =
    again ||
    (run.stopping?.why === 'deadline' && run.stopping.attempt === attempt) ||
    (own.status === 'timeout' && own.attempt === attempt && own.epoch === (known?.epoch ?? own.epoch));
  const error = (again ? known.error : undefined) ?? 'The job took too long and was stopped.';
  if (late) return { ...seen, status: 'timeout', error };
  const reason = seen.error ?? cancelReason(run, attempt, seen);
  return reason === undefined ? seen : { ...seen, error: reason };
}

/** Why a build was cancelled, if that was us: what is known already stays, so that asking again says nothing new. */
function cancelReason({ job, stopping }: JobRun, attempt: number, seen: Observation): string | undefined {
  const known = job.builds[seen.build];
  if (known?.status === 'cancelled' && Math.abs(seen.at - known.at) < resolution) return known.error;
  if (stopping?.why === 'cancel' && stopping.attempt === attempt) return reasonOf(stopping);
  const { own } = job;
  const ours = own.status === 'cancelled' && own.attempt === attempt && own.epoch === (known?.epoch ?? own.epoch);
  return ours ? own.error?.replace(` ${unconfirmed}`, '') : undefined;
}

export const unconfirmed = 'The CI has not confirmed it.';

export const reasonOf = ({ by, reason }: NonNullable<JobRun['stopping']>): string => reason ?? `Cancelled by ${by}.`;

const maxHeld = 8;

function hold(run: JobRun, seen: Observation, until: number): void {
  if (run.held[seen.build] || Object.keys(run.held).length >= maxHeld) return;
  run.held[seen.build] = { seen, until };
}
