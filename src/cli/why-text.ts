import { lasting } from '../pipeline/lasting.ts';
import { type Wait } from '../pipeline/wait.ts';
import type { Why } from '../pipeline/why.ts';
import type { JobFact, WhyFacts } from '../pipeline/why-facts.ts';
import { plain, table, time } from './text.ts';

/** One pipeline that was asked about, with what was known of it. */
export interface Answer {
  facts: WhyFacts;
  why: Why;
}

/** What `--json` prints of one: a promise to scripts. Times are ISO 8601, lengths of time ms. */
export function asData({ facts: { id, now, books, engine }, why }: Answer) {
  const { pipeline, jobs, trigger } = books;
  const iso = (at: number): string => new Date(at).toISOString();
  const due = (one: Wait['next']) => one && { at: iso(one.at), what: one.what };
  return {
    pipeline: id,
    standing: why.standing,
    cause: why.cause,
    sentence: why.sentence,
    at: now,
    about: pipeline ?? null,
    trigger: trigger ? { state: trigger.state, reason: trigger.reason, receivedAt: trigger.receivedAt } : null,
    jobs: jobs.map((job) => ({
      name: job.name,
      provider: job.provider,
      attempt: job.attempt,
      epoch: job.epoch,
      status: job.status,
      error: job.error,
      note: job.note,
      exitCode: job.exitCode,
      refusal: job.refusal,
      parked: job.parked,
      build: job.build,
      url: job.url,
    })),
    waits: why.waits.map(({ since, next, limit, ...rest }) => ({
      ...rest,
      since: since === null ? null : iso(since),
      next: due(next),
      limit: due(limit),
    })),
    steps: why.steps.map(({ at, ...rest }) => ({ at: iso(at), ...rest })),
    temporal: temporalData(engine),
  };
}

function temporalData(engine: WhyFacts['engine']) {
  if (!engine.asked) return { asked: false, answers: null, server: null, problem: engine.why, workflow: null };
  const { server } = engine;
  if (!engine.answers) return { asked: true, answers: false, server, problem: engine.why, workflow: null };
  return { asked: true, answers: true, server, problem: null, workflow: engine.workflow?.status ?? null };
}

/** For people, a line at a time; safe for a terminal. */
export function asText({ facts, why }: Answer): string[] {
  const { books, now } = facts;
  const { pipeline, jobs } = books;
  return [
    plain(facts.id),
    ...(pipeline
      ? [plain(`${pipeline.title}: ${pipeline.did}/${pipeline.repo} on ${pipeline.knot}, branch ${pipeline.branch}`)]
      : []),
    '',
    plain(standings[why.standing] ?? why.sentence),
    ...why.waits.flatMap((each) => ['', ...waitLines(each, now.getTime())]),
    ...(jobs.length > 0 ? ['', ...table([['JOB', 'ATTEMPT', 'STATUS', 'BUILD'], ...jobs.map(jobLine)])] : []),
    ...(why.steps.length > 0 ? ['', ...table([['WHEN', 'TOOK', 'JOB', 'WHAT'], ...why.steps.map(stepLine)])] : []),
    ...temporalLines(facts),
  ];
}

/** The sentence of one that waits stands in its first wait too. */
const standings: Record<Why['standing'], string | undefined> = {
  ended: undefined,
  'going on': 'It goes on by itself.',
  'needs a person': 'It needs a person.',
};

function waitLines(each: Wait, now: number): string[] {
  const { job, what, since, next, limit, todo } = each;
  return [
    plain(`${job ?? 'It'} waits for ${what}`),
    ...(since === null ? [] : [`  since   ${at(since)} (${lasting(Math.max(0, now - since))})`]),
    ...(next === null ? [] : [plain(`  next    ${at(next.at)}${ahead(next.at, now)}: ${next.what}`)]),
    ...(limit === null ? [] : [plain(`  limit   ${at(limit.at)}${ahead(limit.at, now)}: ${limit.what}`)]),
    ...todo.map(({ text, command }) => plain(`  to do   ${text}${command === undefined ? '' : `: ${command}`}`)),
  ];
}

const at = (ms: number): string => time(new Date(ms));

const ahead = (ms: number, now: number): string => (ms > now ? ` (in ${lasting(ms - now)})` : '');

const jobLine = ({ name, attempt, status, url, build }: JobFact): string[] => [
  name,
  `${attempt}`,
  status ?? '-',
  url ?? build ?? '-',
];

const stepLine = ({ at: when, tookMs, job, attempt, what }: Why['steps'][number]): string[] => [
  new Date(when).toISOString().replace('T', ' '),
  tookMs === null ? '' : lasting(tookMs),
  job === null ? '' : attempt !== null && attempt > 1 ? `${job}#${attempt}` : job,
  what,
];

function temporalLines({ engine, books }: WhyFacts): string[] {
  if (engine.asked && engine.answers) return [];
  if (!books.pipeline) return [];
  const why = engine.asked ? `it does not answer at ${engine.server}` : engine.why;
  return ['', plain(`Temporal was not asked (${why}): this is what the database knows.`)];
}
