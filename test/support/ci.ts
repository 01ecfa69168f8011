import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { type BuildEvent, type Delivery, lose, type RequestMatch, signature } from '../../sim/buildkite/index.ts';
import type { JobView } from '../../sim/appview/book.ts';
import { type Pushed, secret, type Spindle } from './spindle.ts';
import { until } from './until.ts';

/** A commit hash of its own, by which a test knows its requests and builds among those of others. */
export const newSha = (): string => randomBytes(20).toString('hex');

/** The create requests for a commit. */
export const createOf = (sha: string): RequestMatch => ({
  route: 'create',
  where: ({ body }) => JSON.stringify(body).includes(sha),
});

/** Everything that the CI has built for a pipeline, oldest first; a person's rebuild too, which has no meta_data. */
export const buildsOf = ({ ci }: Spindle, { sha }: Pick<Pushed, 'sha'>) =>
  ci.builds().filter(({ commit }) => commit === sha);

export const postsOf = ({ ci }: Spindle, { sha }: Pick<Pushed, 'sha'>) =>
  ci.requests.filter((request) => createOf(sha).where?.(request) && request.route === 'create');

export const theBuild = (whorl: Spindle, pushed: Pushed) => until('a build', () => buildsOf(whorl, pushed)[0]);

/** Pushes, and holds the answer of CreateBuild after the CI has made the build; its webhooks are sent by hand. */
export async function pushHeld(whorl: Spindle, files: Record<string, string>) {
  const sha = newSha();
  byHand(whorl, sha);
  const held = whorl.ci.hold(createOf(sha));
  const pushed = whorl.push(files, { newSha: sha });
  const { build } = await held.arrived;
  if (!build) throw new Error('the create request made no build');
  return { pushed, build: build.id, answer: held.release };
}

/**
 * The CI sends nothing for builds of this commit, or nothing at all: a test takes the webhooks from the log and sends
 * them when, and as often as, it wants.
 */
export const byHand = ({ ci }: Spindle, sha = ''): void =>
  void ci.onWebhook({ where: ({ body }) => body.includes(sha) }, lose(), 'always');

/** The newest webhook of a build with this event. */
export function webhookOf({ ci }: Spindle, build: string, event: BuildEvent): Delivery {
  const found = ci.deliveries.findLast((delivery) => delivery.build?.id === build && delivery.event === event);
  if (!found) throw new Error(`build ${build} has not made the webhook ${event}`);
  return found;
}

export type Sent = Pick<Delivery, 'event' | 'body' | 'requestId'>;

/** Sends a body as the CI does, signed now, and gives the status of the answer. */
export async function send(
  whorl: Spindle,
  { event, body, requestId }: Sent,
  headers: Record<string, string> = {},
): Promise<number> {
  const response = await fetch(`${whorl.url}/webhooks/buildkite`, {
    method: 'POST',
    body,
    headers: {
      'content-type': 'application/json',
      'x-buildkite-event': event,
      'x-buildkite-request': requestId,
      'x-buildkite-signature': signature(secret, Math.floor(Date.now() / 1000), body),
      ...headers,
    },
  });
  return response.status;
}

/** Every webhook that came in so far was carried on, or put aside. */
export const digested = ({ sql }: Spindle): Promise<unknown> =>
  until('all deliveries are settled', async () => {
    const open = await sql`select from deliveries where state = 'new'`;
    return open.length === 0;
  });

/** The build that an attempt is bound to. */
export const boundTo = ({ sql }: Spindle, { id }: Pick<Pushed, 'id'>, attempt = 1): Promise<string> =>
  until('a bound build', async () => {
    const [row] = await sql<{ build: string | null }[]>`
      select build from attempts where pipeline = ${id} and attempt = ${attempt}`;
    return row?.build ?? undefined;
  });

/** A job as the appview's user sees it. */
export function jobOf({ appview, knot }: Spindle, { rkey }: Pick<Pushed, 'rkey'>, job = 'ci.yml'): JobView {
  const view = appview.view(knot.host, rkey).jobs[job];
  if (!view) throw new Error(`the appview has no status of ${job}`);
  return view;
}

/**
 * Waits for the end, and checks what holds for every pipeline: the workflow is over, the statuses are a way from
 * pending to this end on which at most something in between was overtaken, and no rule of a strict appview is broken.
 */
export async function endsRight(whorl: Spindle, pushed: Pushed, end: string, job = 'ci.yml'): Promise<JobView> {
  await pushed.shows(job, end);
  await pushed.ended();
  const seen = pushed.seen(job);
  expect([seen[0], seen.at(-1)]).toEqual(['pending', end]);
  expect(['pending', 'running', end]).toEqual(expect.arrayContaining(seen));
  expect(seen.length).toBeLessThanOrEqual(3);
  expect(whorl.appview.problems).toEqual([]);
  return jobOf(whorl, pushed, job);
}

/** The history of the pipeline's workflow, as Temporal keeps it. */
export const historyOf = async ({ handle }: Pushed) => (await handle.fetchHistory()).events ?? [];

/** How often an activity was scheduled; its retries are in no history. */
export const scheduledOf = (history: Awaited<ReturnType<typeof historyOf>>, activityId: RegExp): number =>
  history.filter((event) => activityId.test(event.activityTaskScheduledEventAttributes?.activityId ?? '')).length;
