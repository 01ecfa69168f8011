import type { Build } from '../../sim/buildkite/index.ts';
import { at, each, type Finding, type Invariant } from './finding.ts';
import {
  type Books,
  buildName,
  cancelAsked,
  claimOf,
  isEnd,
  isOurs,
  pipelineId,
  type PushedJobOf,
  tagOf,
} from './books.ts';
import { excuseFor } from './excuses.ts';
import { hasEnded } from './truth.ts';

/** 1: what was pushed is built, once. */
export const oneBuild: Invariant = {
  number: 1,
  name: 'Every authorised trigger has one build for each attempt of each job: none is lost, none is doubled.',
  look(books) {
    const findings = [
      ...triggers(books),
      ...each(books.jobs, (job) => jobBuilds(books, job)),
      ...unwanted(books),
      ...reruns(books),
    ];
    return { checked: books.jobs.length, findings };
  },
};

/** Extras that were cancelled, or had ended before they were found; one build of each attempt is none. */
export const extrasCancelled = (books: Books): number =>
  [...books.ours.values()]
    .filter((builds) => builds.length > 1)
    .reduce((sum, builds) => sum + Math.min(builds.length - 1, builds.filter((one) => isGone(books, one)).length), 0);

/** Builds that stand for an attempt of a job that was pushed. */
export const countBuilds = (books: Books): number =>
  [...books.ours.values()].filter((builds) => {
    const [first] = builds;
    return first && books.pushes.has(claimOf(first).pipeline);
  }).length;

/** What the knots say that they sent, and what became of it. */
function* triggers({ evidence, pushes }: Books): Generator<Finding> {
  const { tables, books } = evidence;
  for (const key of books) {
    if (!pushes.has(pipelineId(key))) {
      yield { kind: 'lost', text: `${pipelineId(key)} is in the knot's books, and the harness knows of no such push.` };
    }
  }
  const taken = new Map(tables.triggers.map((row) => [pipelineId(row), row]));
  for (const [id, { served, at: pushedAt, jobs }] of pushes) {
    if (!served) continue;
    const row = taken.get(id);
    if (!row) {
      yield { kind: 'lost', text: `${id}, pushed at ${at(pushedAt)}, is in no row of the triggers.` };
    } else if (row.state !== 'started' && !(row.state === 'ended' && jobs.length === 0)) {
      const why = row.reason === null ? 'without a reason' : `because: ${row.reason}`;
      yield { kind: 'lost', text: `${id}, pushed at ${at(pushedAt)}, was to be started and is ${row.state}, ${why}` };
    }
  }
}

function* jobBuilds(books: Books, job: PushedJobOf): Generator<Finding> {
  const { pipeline, name, expect, attempts, row } = job;
  const numbers = new Set([1, ...attempts.flatMap((one) => (one.adopted_from === null ? [one.attempt] : []))]);
  if (expect === 'fake') {
    if (!row) yield { kind: 'lost', text: `${pipeline} ${name}: this job is in no row of the jobs.` };
    else if (!isEnd(row.status))
      yield { kind: 'lost', text: `${pipeline} ${name}: the built-in CI's job is ${row.status}, and never ended.` };
    return;
  }
  for (const attempt of numbers) {
    const tag = tagOf(pipeline, name, attempt);
    const builds = books.ours.get(tag) ?? [];
    const what = `${pipeline} ${name}, attempt ${attempt}`;
    if (builds.length === 0) yield* noBuild(books, job, attempt, what);
    if (builds.length > 0 && expect === 'refused') {
      yield { kind: 'doubled', text: `${what}: it was to be refused, and has ${builds.map(buildName).join(', ')}.` };
    }
    yield* extras(books, builds, tag, what);
  }
}

function* noBuild(books: Books, job: PushedJobOf, attempt: number, what: string): Generator<Finding> {
  const { pipeline, name, expect, attempts, row, push } = job;
  if (expect !== 'build') return;
  const written = attempts.find((one) => one.attempt === attempt);
  const stopped = written?.cancel_asked_at != null && written.build === null;
  if (stopped && cancelAsked(books, pipeline, name)) return;
  const said = row ? `; it says ${row.status ?? 'nothing'}${row.error === null ? '' : `: ${row.error}`}` : '';
  const posts = books.evidence.tables.builds.filter(
    (one) => one.pipeline === pipeline && one.job === name && one.attempt === attempt,
  );
  const tries = `${posts.length} POSTs in the books${posts.map(({ outcome }) => `, ${outcome}`).join('')}`;
  yield { kind: 'lost', text: `${what}, pushed at ${at(push.at)}: the CI has no build of it (${tries})${said}.` };
}

/** All but one must be gone, and none may be there without a reason. */
function* extras(books: Books, builds: Build[], tag: string, what: string): Generator<Finding> {
  const present = builds.filter((build) => !isGone(books, build));
  if (present.length > 1) {
    const list = present.map((build) => `${buildName(build)} of ${at(build.createdAt)}, ${build.state}`).join(' and ');
    yield { kind: 'doubled', text: `${what}: ${present.length} builds at the end, ${list}.` };
    return;
  }
  for (const [n, second] of builds.entries()) {
    const first = builds[n - 1];
    if (!first || excuseFor(books.evidence, tag, first, second) !== undefined) continue;
    yield {
      kind: 'doubled',
      text: `${what}: ${buildName(second)} was made at ${at(second.createdAt)}, although ${buildName(first)} was there since ${at(first.createdAt)}, no answer was lost, and nothing was disturbed.`,
    };
  }
}

/** Cancelled; or ended by itself before anybody could know of it, and written down as an extra when it was found. */
function isGone({ posts, boundTo }: Books, build: Build): boolean {
  if (build.state === 'canceled' || build.state === 'canceling') return true;
  const post = posts.get(build.id);
  const known = post?.cancelled_at ?? post?.extra_since ?? null;
  return !boundTo.has(build.id) && hasEnded(build) && known !== null && (build.finishedAt ?? Infinity) <= known;
}

/** Builds of ours that nobody asked for. */
function* unwanted({ evidence, pushes }: Books): Generator<Finding> {
  for (const build of evidence.ci.builds) {
    if (!isOurs(build, evidence.ci.user) || build.metaData['tack:knot'] === undefined) continue;
    const { pipeline, job } = claimOf(build);
    const push = pushes.get(pipeline);
    const pushed = push?.jobs.find(({ name }) => name === job);
    const what = `${buildName(build)} was made for ${pipeline} ${job}`;
    if (!push) yield { kind: 'doubled', text: `${what}, which nobody pushed.` };
    else if (!push.served) yield { kind: 'doubled', text: `${what}, a repository that is not served.` };
    else if (!pushed) yield { kind: 'doubled', text: `${what}, and that push has no such job.` };
    else if (pushed.expect === 'fake') yield { kind: 'doubled', text: `${what}, which is for the built-in CI.` };
  }
}

/** What a rerun was answered with must be there. */
function* reruns({ evidence, attempts }: Books): Generator<Finding> {
  for (const { id, pipeline, kind, state, result } of evidence.tables.commands) {
    if (kind !== 'rerun' || state !== 'done') continue;
    for (const [, job = '', number] of (result ?? '').matchAll(/(?:^|, )(.+?): attempt (\d+)/g)) {
      const there = attempts.get(`${pipeline} ${job}`)?.some(({ attempt }) => attempt === Number(number));
      if (!there) {
        yield {
          kind: 'lost',
          text: `${pipeline} ${job}: rerun ${id} was answered “${result}”, and there is no such attempt.`,
        };
      }
    }
  }
}
