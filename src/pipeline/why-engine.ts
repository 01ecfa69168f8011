import { isEnd } from './status.ts';
import { type Cause, todo, type Todo, type Wait, wait } from './wait.ts';
import { sooner } from './waits.ts';
import type { ActivityFact, Books, WhyFacts, WorkflowFact } from './why-facts.ts';

/** Workers ask at least once a minute; one that has not for this long is gone. */
const goneMs = 75_000;

/** A task that nobody takes for so long has no taker, whoever asked before. */
const untakenMs = 8_000;

/** What Temporal tells of why it waits, and that it does not answer. */
export function engineWaits(facts: WhyFacts): Wait[] {
  const { id, engine, books } = facts;
  const open = books.jobs.some(({ status }) => status === null || !isEnd(status));
  if (!engine.asked) return [];
  if (!engine.answers) return open ? [away(engine.server, engine.why)] : [];
  const { workflow } = engine;
  if (!workflow) return open ? [gone(id, 'Temporal does not know its workflow')] : [];
  if (workflow.status !== 'RUNNING')
    return open ? [gone(id, `its workflow ended as ${workflow.status} before its jobs`)] : [];
  const trouble = troubleOf(facts, workflow);
  const steps = workflow.activities.flatMap((activity) => [...activityWaits(facts, activity)]);
  // What a job's activity says of its create is more than that one is under way.
  const told = new Set(steps.filter(({ cause }) => cause !== 'create').map(({ job }) => job));
  const own = (workflow.waits ?? []).filter(({ cause, job }) => cause !== 'create' || !told.has(job));
  return [...trouble, ...steps.filter(({ cause }) => cause !== 'create'), ...own];
}

const away = (server: string, why: string): Wait =>
  wait('temporal-away', `Temporal (${server}), which does not answer: ${why}`, {
    todo: [{ text: 'See that it runs, and that TEMPORAL_ADDRESS is right; what follows is what the database knows.' }],
    person: true,
  });

const gone = (id: string, what: string): Wait =>
  wait('workflow-ended', `somebody to open it again: ${what}`, {
    todo: [
      todo(
        'Any command opens it again, and it goes on where it was; this one says that nothing is parked',
        'whorl',
        'retry',
        id,
      ),
    ],
    person: true,
  });

/** What keeps the whole workflow from going on. */
function troubleOf({ now }: WhyFacts, { task, workerSeen, queue, activities }: WorkflowFact): Wait[] {
  const untaken = [
    ...(task && !task.started && task.since ? [task.since] : []),
    ...activities.flatMap((one) =>
      one.running || one.paused || one.nextAt || !one.scheduledAt ? [] : [one.scheduledAt],
    ),
  ].map((at) => now.getTime() - at.getTime());
  if (task && task.attempt > 1 && task.failure !== null)
    return [
      wait('workflow-failing', `a release that can run it: its workflow code fails, ${task.failure}`, {
        todo: [
          { text: 'Deploy a release that can; nothing is lost meanwhile.' },
          todo('Try one before', 'whorl', 'replay'),
        ],
        person: true,
      }),
    ];
  const seen = workerSeen && now.getTime() - workerSeen.getTime();
  const nobody = seen === null || seen > goneMs;
  if (!nobody && !untaken.some((ms) => ms > untakenMs)) return [];
  const last = workerSeen === null ? 'none has for minutes' : `one did last ${Math.round((seen ?? 0) / 1000)} s ago`;
  return [
    wait('no-worker', `a worker: none takes work from the task queue ${queue} (${last})`, {
      todo: [todo('Start the role worker, or see why it does not run', 'whorl', 'worker')],
      person: true,
    }),
  ];
}

function* activityWaits({ id, books, now }: WhyFacts, activity: ActivityFact): Generator<Wait> {
  const { paused, failure, nextAt, attempt, running } = activity;
  const { job, step } = subjectOf(books, activity.id);
  const since = beganAt(books, activity, { job, step }, now);
  if (paused) {
    yield wait(
      'paused',
      `somebody to unpause its step ${activity.id}, paused by ${paused.by ?? 'somebody'}${paused.reason ? `: ${paused.reason}` : ''}`,
      {
        job,
        since: paused.at?.getTime() ?? since,
        todo: [unpause(id, activity.id)],
        person: true,
      },
    );
    return;
  }
  if (!failure) {
    if (running && step === 'create') yield wait('create', 'the CI to make its build', { job, since });
    return;
  }
  // A log that is followed fails on purpose, again and again.
  if (step === 'follow') return;
  const next = nextAt && nextAt.getTime() > now.getTime() ? nextAt.getTime() : null;
  yield wait(causeOf(step, failure), `${phrases[step] ?? activity.id}: ${failure.message}`, {
    job,
    since,
    next: next === null ? null : { at: next, what: `it is tried again (try ${attempt})` },
    todo: next === null ? [] : [sooner(id, activity.id)],
  });
}

/** Temporal tells when the next try was scheduled, which may be still to come. A create began with its first POST. */
function beganAt(
  { posts, attempts }: Books,
  { scheduledAt, failure }: ActivityFact,
  { job, step }: { job: string | null; step: string },
  now: Date,
): number | null {
  const attempt = Math.max(...attempts.filter((one) => one.job === job).map((one) => one.attempt));
  const first = posts.find((post) => step === 'create' && post.job === job && post.attempt === attempt)?.postedAt;
  const times = [first, scheduledAt, failure?.at].flatMap((at) => (at && at <= now ? [at.getTime()] : []));
  return times.length === 0 ? null : Math.min(...times);
}

const unpause = (id: string, activity: string): Todo =>
  todo(
    'Here, or in the Temporal UI',
    'temporal',
    'activity',
    'unpause',
    '--workflow-id',
    id,
    '--activity-id',
    activity,
  );

const phrases: Record<string, string> = {
  create: 'the CI to make its build',
  cancel: 'the CI to stop its build',
  search: 'a search for its build',
  sweep: 'a last search for builds that surface late',
  read: 'the CI to tell how its builds are',
  publish: 'its statuses to be stored',
  adopt: 'the CI to show a build that somebody ran again',
  logs: 'its log to be brought home',
  reopen: 'what the earlier runs left',
};

/** Our own sentences tell a lost answer from a failure without doubt. */
function causeOf(step: string, { type, message }: NonNullable<ActivityFact['failure']>): Cause {
  if (type === 'RateLimited') return 'rate-limited';
  const lost = /did not answer whether it made the build|The build may exist all the same/.test(message);
  if (step === 'create' && lost) return 'answer-lost';
  return step === 'logs' ? 'log' : step === 'sweep' ? 'doubt' : 'failing';
}

/** The job of an activity, by its id: `create:ci.yml`, `create:ci.yml#2`, `sweep:ci.yml:1`. */
function subjectOf({ jobs }: Books, id: string): { job: string | null; step: string } {
  const [step = id] = id.split(':', 1);
  const rest = id.slice(step.length + 1);
  const names = jobs
    .map(({ name }) => name)
    .filter((name) => rest === name || (/^[#:.]/.test(rest.slice(name.length)) && rest.startsWith(name)));
  return { step, job: names.toSorted((a, b) => b.length - a.length)[0] ?? null };
}
