import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import { WorkflowNotFoundError } from '@temporalio/client';
import type { Build } from '../../sim/buildkite/types.ts';
import type { JobView, PipelineView } from '../../src/workflows/messages.ts';
import type { TestContext } from 'vitest';
import { outboxOf } from './outbox.ts';
import { type Pushed, type Spindle, spindle, type SpindleOptions } from './spindle.ts';
import { until } from './until.ts';

const parked = defineSearchAttributeKey('Parked', SearchAttributeType.KEYWORD_LIST);

/** A spindle that ends with a test that runs beside others. */
export async function ownSpindle({ onTestFinished }: TestContext, options: SpindleOptions = {}): Promise<Spindle> {
  const whorl = await spindle({ ...options, shared: true });
  onTestFinished(() => whorl.close());
  return whorl;
}

/** The builds that the CI has for a job, oldest first. */
export const buildsOf = ({ ci }: Spindle, pushed: Pushed, job = 'ci.yml'): Build[] =>
  ci
    .builds()
    .filter(({ metaData }) => metaData['tack:pipeline_rkey'] === pushed.rkey && metaData['tack:workflow'] === job);

/** The nth build of a job, once it is there. */
export const buildOf = (whorl: Spindle, pushed: Pushed, job = 'ci.yml', nth = 1): Promise<Build> =>
  until(`build ${nth} of ${job}`, () => buildsOf(whorl, pushed, job)[nth - 1]);

/** What the query `state` says about a job, once it is as `fits` wants it. */
export async function jobThat(
  pushed: Pushed,
  what: string,
  fits: (job: JobView) => unknown,
  job = 'ci.yml',
): Promise<JobView> {
  let last: JobView | undefined;
  return until(what, async () => {
    last = await pushed.handle
      .query<PipelineView>('state')
      .then(({ jobs }) => jobs.find((one) => one.job === job))
      .catch(unlessMissing);
    return last && fits(last) ? last : undefined;
  }).catch((error: unknown) => {
    throw new Error(`${what}: the workflow says ${JSON.stringify(last)}`, { cause: error });
  });
}

/** The job's build is known to the workflow, so nothing of its create is under way. */
export const isBound = (pushed: Pushed, job = 'ci.yml'): Promise<JobView> =>
  jobThat(pushed, `${job} has a build`, ({ build }) => build, job);

export const isParked = (pushed: Pushed, job = 'ci.yml'): Promise<JobView> =>
  jobThat(pushed, `${job} is parked`, (view) => view.parked, job);

/** The causes in the search attribute `Parked`. */
export async function parkedCauses(pushed: Pushed): Promise<string[]> {
  const { typedSearchAttributes } = await pushed.handle.describe();
  return typedSearchAttributes.get(parked) ?? [];
}

/** An activity that has failed and waits for its next try. */
export const failingActivity = (pushed: Pushed, activityId: string) =>
  until(`${activityId} fails`, async () => {
    const found = await pushed.handle.describe().catch(unlessMissing);
    return found?.raw.pendingActivities?.find((one) => one.activityId === activityId && one.lastFailure);
  });

/** `status/attempt/epoch` of everything that was shown of a job, oldest first; what was sent once more is left out. */
export async function shown({ sql }: Spindle, pushed: Pushed, job = 'ci.yml'): Promise<string[]> {
  await until('no status is withheld', async () => {
    const withheld = await sql`select from statuses where pipeline = ${pushed.id} and state = 'due'`;
    return withheld.length === 0;
  });
  const all = await outboxOf(sql, pushed.id);
  return all
    .filter((one) => one.job === job && one.state === 'sent' && !one.resend)
    .toSorted((a, b) => Number((a.cursor ?? 0n) - (b.cursor ?? 0n)))
    .map(({ status, attempt, epoch }) => `${status}/${attempt}/${epoch}`);
}

function unlessMissing(error: unknown): undefined {
  if (!(error instanceof WorkflowNotFoundError)) throw error;
}
