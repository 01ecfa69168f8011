import { resolution } from './job.ts';
import { isEnd } from './status.ts';
import type { AttemptFact, Books, JobFact, PostFact, WhyFacts } from './why-facts.ts';

/** Something that happened. Times are ms since 1970. */
export interface Step {
  at: number;
  /** Since what it followed; null when it followed nothing. */
  tookMs: number | null;
  job: string | null;
  attempt: number | null;
  what: string;
}

/** What happened so far, from the event at the forge to the last status, in the order of time. */
export function stepsOf(facts: WhyFacts): Step[] {
  const { books } = facts;
  const steps = [
    ...beginning(facts),
    ...books.jobs.flatMap((job) => {
      const of = books.attempts.filter((attempt) => attempt.job === job.name);
      return [...of.flatMap((attempt) => [...attemptSteps(books, job, attempt)]), ...statusSteps(books, job)];
    }),
    ...asked(books),
    ...aside(books),
  ];
  // What is given first at one time happened first.
  return steps.toSorted((a, b) => a.at - b.at);
}

const step = (at: Date, after: Date | null, what: string, of: { job?: string; attempt?: number } = {}): Step => ({
  at: at.getTime(),
  tookMs: after === null ? null : Math.max(0, at.getTime() - after.getTime()),
  job: of.job ?? null,
  attempt: of.attempt ?? null,
  what,
});

function* beginning({ books, engine }: WhyFacts): Generator<Step> {
  const { trigger, pipeline, jobs, reopenings } = books;
  if (trigger) {
    const { eventAt, receivedAt, settledAt, state, reason } = trigger;
    if (eventAt) yield step(eventAt, null, `happened on ${trigger.knot}`);
    yield step(receivedAt, eventAt, 'received, and stored');
    const because = reason === null ? '' : `: ${reason}`;
    if (settledAt && state !== 'started') {
      const said = state === 'ended' ? 'ended at once' : state === 'early' ? 'not started, being too early' : 'refused';
      yield step(settledAt, receivedAt, `${said}${because}`);
    }
    if (pipeline) {
      const names = jobs.map(({ name, refusal }) => (refusal === null ? name : `${name} (refused)`)).join(', ');
      yield step(pipeline.createdAt, receivedAt, `judged and planned: ${names}`);
      if (settledAt && state === 'started')
        yield step(settledAt, pipeline.createdAt, `its workflow was started in Temporal${because}`);
    }
  }
  for (const { epoch, because, at } of reopenings) yield step(at, null, `opened again as epoch ${epoch}: ${because}`);
  const workflow = engine.asked && engine.answers ? engine.workflow : null;
  if (workflow?.closedAt) yield step(workflow.closedAt, null, `its workflow ended: ${workflow.status}`);
}

function* attemptSteps(books: Books, { name: job, ends }: JobFact, of: AttemptFact): Generator<Step> {
  const { attempt, build } = of;
  const at = { job, attempt };
  const mine = books.posts.filter((post) => post.job === job && post.attempt === attempt);
  const command = books.commands.find(({ id }) => id === of.command);
  if (of.adoptedFrom !== null)
    yield step(of.createdAt, null, `taken over: somebody ran build ${of.adoptedFrom} again in the CI`, at);
  else if (attempt > 1)
    yield step(of.createdAt, command?.receivedAt ?? null, `asked for${command ? ` by ${command.by}` : ''}`, at);
  for (const [n, post] of mine.entries()) if (post.outcome !== 'adopted') yield* postSteps(post, n, of, at);
  if (of.cancelAskedAt)
    yield step(
      of.cancelAskedAt,
      null,
      build === null ? 'no build may be made any more' : 'the CI was asked to stop',
      at,
    );
  if (build === null) return;

  const words = books.deliveries.filter((delivery) => delivery.build === build);
  const running = words.find(({ status }) => status === 'running');
  if (running) yield step(running.receivedAt, of.boundAt, `a webhook told that it runs (${running.event})`, at);
  const end = ends[build];
  const before = running?.receivedAt ?? of.boundAt;
  const endedAt = end && isEnd(end.status) && end.at > 0 ? endOf(end.at, before, of.boundAt) : null;
  if (end && endedAt) yield step(endedAt, before, `ended at the CI: ${end.status}`, at);
  const told = words.find(({ status }) => status !== null && isEnd(status));
  if (told) yield step(told.receivedAt, endedAt, `a webhook told of the end (${told.event})`, at);
}

/** The CI tells whole seconds, and its clock may differ: nothing ends before what is known to have been before it. */
function endOf(at: number, running: Date | null, bound: Date | null): Date {
  const told = running?.getTime() ?? 0;
  const earliest = told - at < resolution ? told : (bound?.getTime() ?? 0);
  return new Date(Math.max(at, earliest));
}

function* postSteps(post: PostFact, n: number, of: AttemptFact, at: { job: string; attempt: number }): Generator<Step> {
  const { postedAt, outcome, looks, lookedAt, build, number } = post;
  yield step(
    postedAt,
    n === 0 ? of.createdAt : null,
    `the CI is asked to build (POST ${n + 1}, written down before)`,
    at,
  );
  if (looks > 0 && lookedAt)
    yield step(lookedAt, postedAt, `${looks} ${looks === 1 ? 'search' : 'searches'} for its build found nothing`, at);
  if (outcome === 'refused') yield step(postedAt, null, `POST ${n + 1} was refused: it made nothing`, at);
  if (build !== null && build === of.build && of.boundAt)
    yield step(of.boundAt, postedAt, `answered: build ${number === null ? '' : `#${number} `}${build}`, at);
  if (post.extraSince) yield step(post.extraSince, postedAt, `build ${build ?? ''} surfaced late: it is an extra`, at);
  if (post.cancelledAt)
    yield step(post.cancelledAt, post.extraSince, `the extra build ${build ?? ''} was cancelled`, at);
}

const ways = { webhook: 'by webhook', read: 'by a read of ours', self: 'our own word' };

function* statusSteps({ statuses, attempts }: Books, { name }: JobFact): Generator<Step> {
  let before: Date | null = null;
  for (const { job, attempt, status, error, state, shownAt, createdAt, resend } of statuses) {
    if (job !== name) continue;
    const at = { job, attempt };
    const because = error === null ? '' : `: ${error}`;
    const learnt = attempts.find((one) => one.job === job && one.attempt === attempt)?.learnt;
    const how = isEnd(status) && learnt && !resend ? ` (learnt ${ways[learnt]})` : '';
    if (state === 'skipped') {
      yield step(createdAt, null, `${status} was overtaken before its time, and not published`, at);
    } else if (shownAt) {
      yield step(shownAt, before, resend ? `${status} sent once more` : `published: ${status}${how}${because}`, at);
      before = shownAt;
    }
  }
}

function* asked({ commands }: Books): Generator<Step> {
  for (const { kind, job, by, reason, state, result, receivedAt, settledAt } of commands) {
    const of = job === null ? {} : { job };
    yield step(receivedAt, null, `${kind} asked for by ${by}${reason === null ? '' : `: ${reason}`}`, of);
    if (settledAt)
      yield step(
        settledAt,
        receivedAt,
        `${kind} ${state === 'refused' ? 'refused' : 'carried out'}: ${result ?? ''}`,
        of,
      );
  }
}

function* aside({ setAside, deliveries }: Books): Generator<Step> {
  for (const { source, reason, at, kind } of setAside) yield step(at, null, `${kind} of ${source}: ${reason}`);
  for (const { event, build, state, reason, receivedAt, job } of deliveries)
    if (state === 'foreign')
      yield step(
        receivedAt,
        null,
        `a webhook was put aside (${event} of build ${build}): ${reason ?? ''}`,
        job === null ? {} : { job },
      );
}
