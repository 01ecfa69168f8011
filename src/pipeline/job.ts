import { compareFacts, compareWords, type Fact, type Observation, type Word } from './words.ts';
import { isEnd } from './status.ts';

/**
 * All that was ever said about one job. Every field only grows (a maximum, or a map written once), so the state does
 * not depend on the order in which words and bindings came, nor on how often.
 */
export interface Job {
  /** Our own last word. */
  own: Fact;
  /** The best word about each build that was ever named; it counts once the build is bound. */
  builds: Record<string, Word>;
  /** Which build belongs to an attempt. Written once for each attempt. */
  bound: Record<number, string>;
}

/** Builds that are named but not bound are kept only up to this many: anyone in the CI may copy our meta_data. */
const strangers = 8;

export const newJob = (attempt = 1, epoch = 0): Job => ({
  own: { attempt, epoch, status: 'pending', by: 'self', at: 0 },
  builds: {},
  bound: {},
});

/** Our own word about an attempt: pending, timeout, cancelled, or failed when nothing could be built. */
export function say(job: Job, fact: Fact): Job {
  return compareFacts(fact, job.own) > 0 ? { ...job, own: fact } : job;
}

/** A word of the CI about a build, whether it is ours already or not. */
export function hear(job: Job, build: string, word: Word): Job {
  const known = job.builds[build];
  if (known && compareWords(word, known) <= 0) return job;
  if (!known && !attemptOf(job, build) && unboundBuilds(job).length >= strangers) return job;
  return { ...job, builds: { ...job.builds, [build]: word } };
}

/** Ties a build to an attempt. The first binding stays; the database has made sure that there is only one. */
export function bind(job: Job, attempt: number, build: string): Job {
  return job.bound[attempt] === undefined ? { ...job, bound: { ...job.bound, [attempt]: build } } : job;
}

/** What two places know about a job, together. */
export function merge(a: Job, b: Job): Job {
  let job = say(a, b.own);
  for (const [attempt, build] of Object.entries(b.bound)) job = bind(job, Number(attempt), build);
  for (const [build, word] of Object.entries(b.builds)) job = hear(job, build, word);
  return job;
}

/** The attempt that a build belongs to. */
export function attemptOf(job: Job, build: string): number | undefined {
  const entry = Object.entries(job.bound).find(([, id]) => id === build);
  return entry ? Number(entry[0]) : undefined;
}

export const unboundBuilds = (job: Job): string[] =>
  Object.keys(job.builds).filter((build) => attemptOf(job, build) === undefined);

/** Where the job stands: the greatest of our own word and of the words about bound builds. */
export function standing(job: Job): Fact {
  let best = job.own;
  for (const [attempt, build] of Object.entries(job.bound)) {
    const word = job.builds[build];
    if (!word) continue;
    const fact = { ...word, attempt: Number(attempt) };
    if (compareFacts(fact, best) > 0) best = fact;
  }
  return best;
}

/** The build that the job's present attempt runs as. */
export const currentBuild = (job: Job): string | undefined => job.bound[standing(job).attempt];

/** Webhooks tell times in whole seconds, reads in milliseconds: ends that are closer are one end. */
export const resolution = 1000;

/** What an observation means for a job that stands where it stands. */
export type Meaning =
  /** a word to fold */
  | { kind: 'word'; word: Word }
  /** older than the end that was opened again */
  | { kind: 'old' }
  /** says that an ended build goes on or ended again, or in a way that only a read can tell: read it before believing it */
  | { kind: 'read' };

/**
 * Turns an observation into a word. Only a read proves that an ended build was opened again and raises the epoch;
 * a notice that contradicts an end may just be late.
 *
 * `open` is the epoch that the pipeline is in.
 */
export function interpret(job: Job, seen: Observation, from: 'notice' | 'read', open: number): Meaning {
  const known = job.builds[seen.build];
  const epoch = known?.epoch ?? standing(job).epoch;
  const ended = known !== undefined && known.by === 'ci' && isEnd(known.status);
  const after = known?.after;
  const word: Word = {
    epoch,
    status: seen.status,
    by: 'ci',
    at: seen.at,
    ...(seen.error === undefined ? {} : { error: seen.error }),
    ...(seen.exitCode === undefined ? {} : { exitCode: seen.exitCode }),
    ...(after === undefined ? {} : { after }),
  };
  const reopened = ended && (!isEnd(seen.status) || seen.at - known.at >= resolution);
  if (from === 'read') {
    if (reopened) return { kind: 'word', word: { ...word, epoch: Math.max(open, epoch + 1), after: known.at } };
    return { kind: 'word', word };
  }
  if (after !== undefined && isEnd(seen.status) && seen.at <= after) return { kind: 'old' };
  if (seen.unsure || reopened) return { kind: 'read' };
  return { kind: 'word', word };
}
