import { lasting } from '../pipeline/lasting.ts';
import { type Wait } from '../pipeline/wait.ts';
import type { Why } from '../pipeline/why.ts';
import type { JobFact, WhyFacts } from '../pipeline/why-facts.ts';
import { fitted, wrapped } from './fit.ts';
import { plain, time } from './text.ts';

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

/**
 * For people, a line at a time; safe for a terminal.
 * @param width characters in a line of the terminal; undefined: as many as it takes, for pipes and files
 */
export function asText({ facts, why }: Answer, width?: number): string[] {
  const { books, now } = facts;
  const { pipeline, jobs } = books;
  const words = (text: string, lead = '', indent = 0): string[] => hanging(plain(text), { lead, indent, width });
  return [
    plain(facts.id),
    ...(pipeline
      ? words(`${pipeline.title}: ${pipeline.did}/${pipeline.repo} on ${pipeline.knot}, branch ${pipeline.branch}`)
      : []),
    '',
    ...words(standings[why.standing] ?? why.sentence),
    ...why.waits.flatMap((each) => ['', ...waitLines(each, now.getTime(), words)]),
    ...(jobs.length > 0
      ? ['', ...fitted([['JOB', 'ATTEMPT', 'STATUS', 'BUILD'], ...jobs.map(jobLine)], { width, keep: [0, 3] })]
      : []),
    ...(why.steps.length > 0
      ? ['', ...fitted([['WHEN', 'TOOK', 'JOB', 'WHAT'], ...why.steps.map(stepLine)], { width, wrap: true })]
      : []),
    ...temporalLines(facts, words),
  ];
}

/** A sentence in lines that fit, those after the first so far in. */
type Words = (text: string, lead?: string, indent?: number) => string[];

function hanging(
  text: string,
  { lead, indent, width = Infinity }: { lead: string; indent: number; width: number | undefined },
): string[] {
  const lines = wrapped(text, Math.max(32, width - Math.max(lead.length, indent)));
  return lines.map((line, n) => (n === 0 ? lead : ' '.repeat(indent)) + line);
}

/** The sentence of one that waits stands in its first wait too. */
const standings: Record<Why['standing'], string | undefined> = {
  ended: undefined,
  'going on': 'It goes on by itself.',
  'needs a person': 'It needs a person.',
};

function waitLines(each: Wait, now: number, words: Words): string[] {
  const { job, what, since, next, limit, todo } = each;
  const item = (name: string, text: string): string[] => words(text, `  ${name.padEnd(8)}`, 10);
  return [
    ...words(`${job ?? 'It'} waits for ${what}`),
    ...(since === null ? [] : item('since', `${at(since)} (${lasting(Math.max(0, now - since))})`)),
    ...(next === null ? [] : item('next', `${at(next.at)}${ahead(next.at, now)}: ${next.what}`)),
    ...(limit === null ? [] : item('limit', `${at(limit.at)}${ahead(limit.at, now)}: ${limit.what}`)),
    ...todo.flatMap(({ text, command }) => {
      if (command === undefined) return item('to do', text);
      const whole = item('to do', `${text}: ${command}`);
      // A command is copied as it stands, so it is never broken.
      return whole.length === 1 ? whole : [...item('to do', `${text}:`), `          ${plain(command)}`];
    }),
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

function temporalLines({ engine, books }: WhyFacts, words: Words): string[] {
  if (engine.asked && engine.answers) return [];
  if (!books.pipeline) return [];
  const why = engine.asked ? `it does not answer at ${engine.server}` : engine.why;
  return ['', ...words(`Temporal was not asked (${why}): this is what the database knows.`)];
}
