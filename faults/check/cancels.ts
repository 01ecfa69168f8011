import type { Build } from '../../sim/buildkite/index.ts';
import type { Asked, Push, Tables } from '../evidence.ts';
import {
  type AttemptRow,
  type Books,
  buildName,
  cancelAsked,
  cursorMs,
  isEnd,
  jobKey,
  pipelineId,
  tagOf,
  wasLost,
} from './books.ts';
import { at, each, type Finding, type Invariant } from './finding.ts';
import { fakeWord, hasEnded } from './truth.ts';

type Command = Tables['commands'][number];

/** 7: who cancels sees the build stop, or hears why not; and nothing stops that nobody cancelled. */
export const cancels: Invariant = {
  number: 7,
  name: 'A cancel is honoured or its failure is reported.',
  look(books) {
    const { asked, tables, ci } = books.evidence;
    const rows = new Map(tables.commands.map((row) => [row.id, row]));
    const wanted = asked.filter(({ kind }) => kind === 'cancel');
    const findings = [
      ...each(wanted, (one) => outcome(books, one, rows.get(one.id))),
      ...each(books.superseded, ([key, newer]) => superfluous(books, key, newer)),
      ...unasked(books),
    ];
    const stops = ci.requests.filter(({ route }) => route === 'cancel').length;
    return { checked: wanted.length + books.superseded.size + stops + books.boundTo.size, findings };
  },
};

function* outcome(books: Books, asked: Asked, row: Command | undefined): Generator<Finding> {
  const { id, pipeline, at: when } = asked;
  if (!row) {
    // It was asked of a database that was lost then.
    if (wasLost(books, when)) return;
    yield {
      kind: 'ignored',
      text: `${pipeline}: cancel ${id}, asked for at ${at(when)}, is in no row of the commands.`,
    };
    return;
  }
  // What is open is stuck (6), and a refusal has its reason there as well.
  if (row.state !== 'done') return;
  for (const job of targetsOf(books, row)) yield* honoured(books, row, job);
}

/**
 * A job that a newer push made superfluous is stopped, unless it had ended before that one was taken. Whatever people make
 * of it later is theirs.
 */
function* superfluous(books: Books, key: string, newer: readonly Push[]): Generator<Finding> {
  const { tables } = books.evidence;
  const [only, ...more] = books.attempts.get(key) ?? [];
  if (!only || more.length > 0 || newer.some((push) => wasLost(books, push.at))) return;
  const command = tables.commands.find((row) => row.kind === 'cancel' && jobKey(row.pipeline, row.job ?? '') === key);
  if (command?.state === 'done') yield* honoured(books, command, only.job);
  // A refusal has its reason, and what is open is stuck.
  if (command) return;
  const ids = new Set(newer.map(pipelineId));
  const taken = tables.pipelines.filter(({ id }) => ids.has(id)).map((row) => row.created_at);
  const since = Math.min(...taken);
  const last = books.sent.get(key)?.findLast(({ resend }) => !resend);
  const end = last && isEnd(last.status) ? cursorMs(last.cursor) : Infinity;
  if (taken.length === 0 || end <= since + patienceMs) return;
  yield {
    kind: 'ignored',
    text: `${key} was superseded at ${at(since)} by ${[...ids].join(', ')}, and nobody cancelled it; it ended at ${at(end)}.`,
  };
}

/** The answer names the jobs that had not ended. */
function targetsOf({ evidence }: Books, { pipeline, job, result }: Command): string[] {
  if (job !== null) return [job];
  const names = evidence.tables.jobs.filter((one) => one.pipeline === pipeline).map(({ name }) => name);
  const said = (result ?? '')
    .replace(/^Cancelling /, '')
    .replace(/\.$/, '')
    .split(', ');
  return names.filter((name) => said.includes(name));
}

function* honoured(books: Books, command: Command, job: string): Generator<Finding> {
  const { id, pipeline, received_at: asked } = command;
  const key = jobKey(pipeline, job);
  const what = `${key}: cancel ${id} of ${at(asked)} was answered “${command.result ?? ''}”`;
  const note = books.evidence.tables.jobs.find((one) => one.pipeline === pipeline && one.name === job)?.note ?? '';
  if (/could not be stopped|had already ended/.test(note)) return;
  const stopped = (books.attempts.get(key) ?? []).filter(({ cancel_asked_at: when }) => when !== null);
  if (stopped.length === 0) {
    yield* goesOn(books, key, what, asked);
    return;
  }
  for (const attempt of stopped) {
    const going = buildsOf(books, attempt).filter((build) => !isStopped(books, build, attempt));
    for (const build of going) {
      const end = build.finishedAt === null ? 'has not ended' : `ended at ${at(build.finishedAt)}`;
      yield { kind: 'ignored', text: `${what}, but ${buildName(build)} is ${build.state} and ${end}.` };
    }
    const fake = books.posts.get(attempt.build ?? '');
    if (fake?.provider !== 'fake') continue;
    const word = fakeWord(fake.data, Infinity);
    const late = (word?.at ?? 0) > (attempt.cancel_asked_at ?? 0) + patienceMs;
    if (word?.word !== 'cancelled' && late)
      yield { kind: 'ignored', text: `${what}, but build ${fake.build} of the built-in CI went on: ${word?.word}.` };
  }
}

/** Nothing was stopped. That is right only if there was nothing any more. */
function* goesOn(books: Books, key: string, what: string, asked: number): Generator<Finding> {
  const builds = (books.attempts.get(key) ?? []).flatMap((attempt) => buildsOf(books, attempt));
  const isOver = (build: Build): boolean => hasEnded(build) && (build.finishedAt ?? Infinity) <= asked;
  const going = builds.filter((build) => build.state !== 'canceled' && !isOver(build));
  const text = going.map((build) => `${buildName(build)} is ${build.state}`).join(', ');
  if (going.length > 0) yield { kind: 'ignored', text: `${what}, but no attempt was ever stopped: ${text}.` };
}

/** Those that the CI has of an attempt: what is bound to it, and what our POSTs made. */
function buildsOf({ builds, ours }: Books, { pipeline, job, attempt, build }: AttemptRow): Build[] {
  const bound = builds.get(build ?? '');
  const made = ours.get(tagOf(pipeline, job, attempt)) ?? [];
  return bound && !made.includes(bound) ? [bound, ...made] : made;
}

/** A build that ends by itself is left alone if it did so before the cancel came to the CI. */
const patienceMs = 2_000;

function isStopped({ evidence }: Books, build: Build, { cancel_asked_at: asked }: AttemptRow): boolean {
  if (build.state === 'canceled' || build.state === 'canceling') return true;
  if (!hasEnded(build)) return false;
  const end = build.finishedAt ?? Infinity;
  const request = evidence.ci.requests.find(
    (one) => one.route === 'cancel' && one.build?.id === build.id && one.at >= (asked ?? 0) - patienceMs && !one.lost,
  );
  return end <= (request?.at ?? asked ?? 0) + patienceMs;
}

/** Extras are cancelled without anybody's asking, and so is what runs into the deadline. Nothing else is. */
function* unasked(books: Books): Generator<Finding> {
  const { evidence, boundTo } = books;
  for (const { route, user, build, at: when } of evidence.ci.requests) {
    const attempt = boundTo.get(build?.id ?? '');
    if (route !== 'cancel' || user !== evidence.ci.user || !attempt) continue;
    const { pipeline, job } = attempt;
    const last = books.sent.get(jobKey(pipeline, job))?.findLast((one) => one.attempt === attempt.attempt);
    if (cancelAsked(books, pipeline, job) || last?.status === 'timeout') continue;
    yield {
      kind: 'unasked',
      text: `${pipeline} ${job}: build ${build?.id} was cancelled by us at ${at(when)}, and nobody had asked for it.`,
    };
  }
}
