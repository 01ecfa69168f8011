import { bind, type Job, newJob, say, standing } from './job.ts';
import { isEnd, type Status } from './status.ts';

/** A build that a CI has of a job, whatever we know of it. */
export interface TracedBuild {
  build: string;
  status: Status;
  /** Ours, by its run key; absent for what a person made. */
  attempt?: number | undefined;
  rebuiltFrom?: string | undefined;
}

/** How the closed workflow of a pipeline left a job. */
export interface Ended {
  status: Status;
  /** When it closed, ms since 1970. */
  at: number;
}

export interface Placed {
  /** Builds that become the one build of an attempt which has none. */
  bound: { attempt: number; build: string; rebuiltFrom?: string | undefined }[];
  /** Builds of ours that go on and have no place. */
  extra: string[];
}

/**
 * Gives the builds that a CI has of a job their attempts, after the rows that said so were lost.
 *
 * @param known the attempts that have a row, with their build
 * @param traced oldest first
 */
export function placeBuilds(
  known: readonly { attempt: number; build: string | null }[],
  traced: readonly TracedBuild[],
): Placed {
  const builds = new Map(known.flatMap(({ attempt, build }) => (build === null ? [] : [[attempt, build] as const])));
  const taken = new Set([
    ...known.map(({ attempt }) => attempt),
    ...traced.flatMap(({ attempt }) => (attempt === undefined ? [] : [attempt])),
  ]);
  const placed: Placed = { bound: [], extra: [] };
  const place = (attempt: number, { build, rebuiltFrom }: TracedBuild): void => {
    builds.set(attempt, build);
    taken.add(attempt);
    placed.bound.push({ attempt, build, rebuiltFrom });
  };

  for (const [attempt, own] of Map.groupBy(traced.filter(isOurs), (one) => one.attempt)) {
    // What was cancelled may have been an extra; the first that was not is the one that people saw.
    const best = own.find(({ status }) => status !== 'cancelled') ?? own[0];
    if (best && !builds.has(attempt)) place(attempt, best);
    placed.extra.push(
      ...own.filter(({ build, status }) => builds.get(attempt) !== build && !isEnd(status)).map(({ build }) => build),
    );
  }
  let last = 0;
  for (const one of traced) {
    const attempt = attemptOf(builds, one.build);
    if (attempt !== undefined) last = Math.max(last, attempt);
    else if (one.rebuiltFrom !== undefined && attemptOf(builds, one.rebuiltFrom) !== undefined) {
      // Where a newer attempt of ours has the number, the rebuild was followed by it and decides nothing any more.
      const free = nextFree(last, taken, builds);
      if (free === undefined) continue;
      place(free, one);
      last = free;
    }
  }
  return placed;
}

const isOurs = (one: TracedBuild): one is TracedBuild & { attempt: number } => one.attempt !== undefined;

const attemptOf = (builds: ReadonlyMap<number, string>, build: string): number | undefined =>
  [...builds].find(([, other]) => other === build)?.[0];

/** The next number; one that was only planned for is stepped over, one that has a build ends the search. */
function nextFree(last: number, taken: ReadonlySet<number>, builds: ReadonlyMap<number, string>): number | undefined {
  for (let attempt = last + 1; ; attempt += 1) {
    if (builds.has(attempt)) return undefined;
    if (!taken.has(attempt)) return attempt;
  }
}

/**
 * What is known of a job once its builds were found: the state that was kept, with the builds that it did not know.
 * Where they stand is for a read to say.
 *
 * @param bound the builds of all attempts, with when they were made, as far as the CI says
 * @param planned the last attempt without a build that was given out on request, or was to be stopped, if there is one
 * @param end counts where no build can tell
 */
export function recalled(
  kept: Job | undefined,
  bound: readonly { attempt: number; build: string; madeAt?: number | undefined }[],
  end: Ended | undefined,
  planned?: { attempt: number; stopped: boolean },
): Job {
  let job = kept ?? newJob();
  for (const { attempt, build } of bound) job = bind(job, attempt, build);
  const last = Math.max(standing(job).attempt, planned?.attempt ?? 1, ...bound.map(({ attempt }) => attempt));
  const { epoch } = standing(job);
  if (last > standing(job).attempt) job = say(job, { attempt: last, epoch, status: 'pending', by: 'self', at: 0 });
  if (
    planned?.stopped &&
    planned.attempt === last &&
    !isEnd(standing(job).status) &&
    (end === undefined || !isEnd(end.status))
  )
    return say(job, { attempt: last, epoch, status: 'cancelled', by: 'self', at: 0, error: stoppedReason });
  if (end === undefined || !isEnd(end.status) || isEnd(standing(job).status)) return job;
  const { madeAt = 0 } = bound.find(({ attempt }) => attempt === last) ?? {};
  // A CI knows nothing of our deadline; nor did the workflow know of a build that a person has made since.
  const told = job.bound[last] === undefined || (end.status === 'timeout' && madeAt <= end.at);
  if (!told) return job;
  return say(job, { attempt: last, epoch, status: end.status, by: 'self', at: 0, error: lostReason });
}

const stoppedReason = 'It was cancelled; by whom was lost when the database was restored from a backup.';
const lostReason = 'It had ended so; why was lost when the database was restored from a backup.';
