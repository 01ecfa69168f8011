import type { Frame } from '../evidence.ts';
import {
  type AttemptRow,
  type Books,
  buildName,
  cancelAsked,
  cursorMs,
  jobKey,
  type PushedJobOf,
  type StatusRow,
} from './books.ts';
import { at, each, type Finding, type Invariant } from './finding.ts';
import { stream } from './stream.ts';
import { fakeWord, finalWords } from './truth.ts';

/** 2: what a forge shows in the end is what the CI did, and every reader got it. */
export const lastStatus: Invariant = {
  number: 2,
  name: 'The last published status is the truth of the CI, soon after the faults end, and every reader got it.',
  look(books) {
    const { quietAt, faultsEndedAt } = books.evidence;
    const told = books.jobs.filter(({ row }) => row !== undefined);
    const findings = [...each(told, (job) => wrong(books, job)), ...each(told, (job) => missed(books, job))];
    const { checked, findings: ofStream } = stream(books);
    if (quietAt === null) {
      const text = `It was never quiet within the limit after the faults had ended at ${at(faultsEndedAt)}.`;
      findings.push({ kind: 'unquiet', text });
    }
    return { checked: told.length + checked, findings: [...findings, ...ofStream] };
  },
};

/** What a job must be shown as. `words`: one of them; `because`: for people. */
interface Truth {
  words: string[];
  because: string;
  /** Since when that is so. */
  since: number;
}

/** Undefined when there is nothing to compare with: a job that got lost is a matter of invariant 1. */
function truthOf(books: Books, { pipeline, name, expect, attempts, row, push }: PushedJobOf): Truth | undefined {
  const last = attempts.at(-1);
  if (last?.build != null) return truthOfBuild(books, last, last.build);
  const cancelled = cancelAsked(books, pipeline, name) ? ['cancelled'] : [];
  const since = push.at;
  if (expect === 'refused') return { words: ['failed'], because: 'its workflow file is wrong', since };
  if (expect === 'parks')
    return { words: ['pending', 'failed', ...cancelled], because: 'only the operator can mend it', since };
  if (cancelled.length > 0 && last?.cancel_asked_at != null)
    return { words: cancelled, because: 'it was cancelled before there was a build', since };
  // Parked or given up without anybody's fault in the plan of the run: lost, but its words are not wrong.
  return row?.status === null ? { words: ['any status'], because: 'it was pushed', since } : undefined;
}

function truthOfBuild(books: Books, { pipeline, job, cancel_asked_at: stopped }: AttemptRow, id: string) {
  const post = books.posts.get(id);
  if (post?.provider === 'fake') {
    const fake = fakeWord(post.data, books.evidence.quietAt ?? Date.now());
    return fake && { words: [fake.word], because: `build ${id} of the built-in CI says so`, since: fake.at };
  }
  const build = books.builds.get(id);
  if (!build) return { words: ['cancelled'], because: `the CI has no build ${id}`, since: 0 };
  const words = finalWords(build, books.told.get(id) ?? []);
  const since = build.finishedAt ?? build.createdAt;
  const because = `${buildName(build)} is ${build.blocked ? 'blocked' : build.state} since ${at(since)}`;
  // The CI knows nothing of our deadline, and need not confirm a cancel.
  const ours = build.state === 'canceled' && stopped !== null && !cancelAsked(books, pipeline, job);
  if (ours) words.push('timeout');
  if (build.state === 'canceling' && stopped !== null) words.push('cancelled');
  return { words, because, since };
}

function* wrong(books: Books, job: PushedJobOf): Generator<Finding> {
  const truth = truthOf(books, job);
  const { pipeline, name, row, sent } = job;
  const what = `${pipeline} ${name}`;
  if (!truth) return;
  const should = `${truth.words.join(' or ')}, because ${truth.because}`;
  const last = sent.at(-1);
  if (!last) {
    yield { kind: 'wrong', text: `${what}: nothing was ever published; it should be ${should}.` };
    return;
  }
  const shown = shownLast(books.frames.get(jobKey(pipeline, name)) ?? []);
  const places = [
    { where: `the outbox says ${last.status} (${last.rkey}, ${at(cursorMs(last.cursor))})`, word: last.status },
    { where: `the jobs say ${row?.status}`, word: row?.status },
    ...(shown ? [{ where: `a forge shows ${shown.status} (${shown.rkey}, ${at(shown.at)})`, word: shown.status }] : []),
  ];
  const lies = places.filter(({ word }) => !truth.words.includes(word ?? ''));
  if (lies.length > 0) {
    yield { kind: 'wrong', text: `${what}: ${lies.map(({ where }) => where).join(', ')}; it should be ${should}.` };
  }
}

/** As an appview sorts what it has: by whole seconds, then by arrival. */
const shownLast = (frames: readonly Frame[]): Frame | undefined =>
  frames.toSorted((a, b) => Math.floor(a.createdAt / 1000) - Math.floor(b.createdAt / 1000)).at(-1);

/** A build that a person made from one of ours is the next attempt, if the CI could tell us of it. */
function* missed({ attempts, rebuilds, told }: Books, { pipeline, name }: PushedJobOf): Generator<Finding> {
  const rows = attempts.get(jobKey(pipeline, name)) ?? [];
  const bound = new Set(rows.flatMap(({ build }) => (build === null ? [] : [build])));
  for (const { build, bound_at: boundAt } of rows) {
    for (const rebuild of rebuilds.get(build ?? '') ?? []) {
      if (bound.has(rebuild.id)) continue;
      const word = told.get(rebuild.id)?.find((one) => (one.sentAt ?? one.at) > (boundAt ?? Infinity));
      if (!word) continue;
      yield {
        kind: 'wrong',
        text: `${pipeline} ${name}: a person rebuilt ${build} as ${buildName(rebuild)}, ${word.event} of ${at(word.at)} told of it, and it was never taken over.`,
      };
    }
  }
}

/** How long after the end of the faults, and after the CI had ended it, the last status of any job was published, in ms. */
export function settleMs(books: Books): number {
  const late = books.jobs.map((job) => {
    const truth = truthOf(books, job);
    const last = job.sent.findLast(({ resend }: StatusRow) => !resend);
    if (!truth || !last) return 0;
    return cursorMs(last.cursor) - Math.max(truth.since, books.evidence.faultsEndedAt);
  });
  return late.reduce((most, ms) => Math.max(most, ms), 0);
}
