import { isEnd } from './status.ts';
import { type Cause, todo, type Wait, wait } from './wait.ts';
import { parkedWait } from './waits.ts';
import { engineWaits } from './why-engine.ts';
import type { Books, JobFact, WhyFacts } from './why-facts.ts';

/** A row may be due for so long before that means something. */
const patienceMs = 5_000;

/** What it waits for now, what a person has to do first. */
export function allWaits(facts: WhyFacts): Wait[] {
  const { books, engine } = facts;
  const waits = [
    ...triggerWaits(facts),
    ...(books.pipeline && books.trigger?.state !== 'new' ? engineWaits(facts) : []),
    ...(engine.asked && engine.answers && engine.workflow?.waits ? [] : jobWaits(facts)),
    ...rowWaits(facts),
  ];
  return waits.toSorted((a, b) => weight(a) - weight(b));
}

/** What holds up everything else comes first; what a person has to do before what comes by itself. */
const first: readonly Cause[] = ['temporal-away', 'no-worker', 'workflow-failing', 'workflow-ended', 'not-dispatched'];
const last: readonly Cause[] = ['log', 'resend', 'doubt'];

function weight({ cause, person }: Wait): number {
  const place = first.indexOf(cause);
  if (place >= 0) return place;
  return (person ? 10 : 20) + (last.includes(cause) ? 5 : 0);
}

export const jobsHaveEnded = ({ jobs }: Books): boolean =>
  jobs.length > 0 && jobs.every(({ status }) => status !== null && isEnd(status));

function* triggerWaits({ id, now, books, advice }: WhyFacts): Generator<Wait> {
  const { trigger, pipeline, dispatched, setAside } = books;
  const aside = setAside[0];
  if (!trigger && !pipeline && aside)
    yield wait(
      'quarantined',
      aside.kind === 'quarantined'
        ? `somebody to look at it: PostgreSQL refuses what ${aside.source} sent, ${aside.reason}`
        : `another event: what ${aside.source} sent is none, ${aside.reason}`,
      {
        since: aside.at.getTime(),
        todo: [{ text: 'Mend it where it comes from and push again; the log of ingest has the reason too.' }],
        person: true,
      },
    );
  if (!trigger && !pipeline && !aside && books.deliveries.length === 0) yield unknown(books);
  if (!trigger) return;
  const since = trigger.receivedAt.getTime();
  if (trigger.state === 'held') {
    yield wait('held', `its repository to be served: ${trigger.reason ?? 'it is not known'}`, {
      since,
      next: { at: trigger.dueAt.getTime(), what: 'it is looked at again, or as soon as a record of the account comes' },
      limit: trigger.holdUntil && { at: trigger.holdUntil.getTime(), what: 'it is refused' },
      todo: [
        ...(advice === null ? [] : [{ text: advice.text }]),
        ...(advice?.repo ? [todo('An operator may pin it', 'whorl', 'repos', 'pin', trigger.knot, advice.repo)] : []),
      ],
      person: true,
    });
  }
  if (trigger.state !== 'new' && trigger.state !== 'held') return;
  const late = now.getTime() - trigger.dueAt.getTime();
  if (!dispatched && late > patienceMs) yield notDispatched(since, 'what came in');
  else if (trigger.state === 'new' && trigger.tries > 0)
    yield wait('dispatch-failing', `its workflow to be started, which failed: ${trigger.reason ?? 'nobody says why'}`, {
      since,
      next: { at: trigger.dueAt.getTime(), what: `it is tried again (${trigger.tries} failed)` },
      todo: [{ text: 'See that Temporal answers.' }, todo('Or look again', 'whorl', 'why', id)],
      person: true,
    });
  else if (trigger.state === 'new') yield wait('dispatch-failing', 'its turn to be started', { since });
}

function unknown({ knot }: Books): Wait {
  const read = !knot
    ? 'none has come in'
    : !knot.read
      ? 'none has come in, and nobody reads that knot now: see that a role ingest runs'
      : `none has come in${knot.upTo ? `, and its knot is read up to ${knot.upTo.toISOString()}` : ''}`;
  return wait('unknown', `an event of that name: ${read}`, {
    todo: [
      todo('Check the name, and that its repository is served', 'whorl', 'repos', 'list'),
      todo('See what came in that was none', 'whorl', 'frames'),
    ],
    person: true,
  });
}

const notDispatched = (since: number, what: string): Wait =>
  wait('not-dispatched', `a process that carries ${what} to Temporal: none does`, {
    since,
    todo: [todo('Start the role ingest, or see why it does not run', 'whorl', 'ingest')],
    person: true,
  });

/** What the rows of jobs tell while the workflow does not. */
function* jobWaits(facts: WhyFacts): Generator<Wait> {
  const { id, books, parkLimit } = facts;
  const shown = (job: string) => books.statuses.findLast((one) => one.job === job && !one.resend);
  for (const job of books.jobs) {
    const { name, status, error, parked, build, refusal } = job;
    if (refusal !== null || (status !== null && isEnd(status)) || books.trigger?.state === 'new') continue;
    const since = shown(name)?.createdAt.getTime() ?? null;
    if (parked !== null) {
      const message = (error ?? '').replace(/^Waiting for the operator \((\w+)\): /, '');
      const step = /^Waiting for the operator \((\w+)\)/.exec(error ?? '')?.[1] ?? null;
      yield parkedWait(id, name, { step, cause: parked, message, since }, parkLimit);
    } else if (build !== null) {
      yield wait(
        status === 'running' ? 'running' : 'starting',
        `the CI to ${status === 'running' ? 'end' : 'start'} build ${build}`,
        { job: name, since },
      );
    } else yield createWait(facts, job, since);
  }
}

/** An answer takes no longer than this. */
const answerMs = 60_000;

/** It has no build yet: its turn at the CI is still to come, or a POST has no answer, or nothing is known. */
function createWait({ id, now, books }: WhyFacts, { name, attempt }: JobFact, since: number | null): Wait {
  const slot = books.slots.find(({ key }) => key === `create/${id}/${name}/${attempt}`);
  if (slot)
    return wait('rate-limited', 'its turn in the rate budget of the CI', {
      job: name,
      since,
      next: { at: slot.at.getTime(), what: 'the CI is asked' },
    });
  const lost = books.posts.find((post) => post.job === name && post.attempt === attempt && post.outcome === 'unknown');
  if (!lost || (lost.looks === 0 && now.getTime() - lost.postedAt.getTime() < answerMs))
    return wait('create', 'the CI to make its build', { job: name, since });
  const searched = lost.looks === 0 ? '' : `; ${lost.looks} ${lost.looks === 1 ? 'search' : 'searches'} found nothing`;
  return wait('answer-lost', `the build of a POST that had no answer${searched}`, {
    job: name,
    since: lost.postedAt.getTime(),
  });
}

function* rowWaits({ now, books }: WhyFacts): Generator<Wait> {
  for (const { job, status, createdAt, state } of books.statuses) {
    if (state !== 'due') continue;
    const at = createdAt.getTime();
    const late = now.getTime() - at > 15_000;
    yield wait(
      'withheld',
      `the time of its status ${status}: a forge keeps whole seconds, so each is later than the last`,
      {
        job,
        next: late ? null : { at, what: 'it is published' },
        ...(late ? { since: at, todo: [todo('Workers show it: see that one runs', 'whorl', 'worker')] } : {}),
        person: late,
      },
    );
  }
  for (const { kind, job, by, state, receivedAt, dueAt, tries, result } of books.commands) {
    if (state !== 'new') continue;
    const since = receivedAt.getTime();
    if (!books.dispatched && now.getTime() - dueAt.getTime() > patienceMs) yield notDispatched(since, `the ${kind}`);
    yield wait('command', `the ${kind} that ${by} asked for${tries > 0 ? `, which failed: ${result ?? ''}` : ''}`, {
      job,
      since,
      next: tries > 0 ? { at: dueAt.getTime(), what: 'it is tried again' } : null,
    });
  }
  const waiting = books.deliveries.find(({ state }) => state === 'new');
  if (!waiting) return;
  if (!books.dispatched && now.getTime() - waiting.dueAt.getTime() > patienceMs)
    yield notDispatched(waiting.receivedAt.getTime(), 'its webhooks');
  else
    yield wait(
      'delivery',
      `a webhook to be carried on (${waiting.event})${waiting.reason === null ? '' : `: ${waiting.reason}`}`,
      {
        job: waiting.job,
        since: waiting.receivedAt.getTime(),
        next: waiting.tries > 0 ? { at: waiting.dueAt.getTime(), what: 'it is tried again' } : null,
      },
    );
}
