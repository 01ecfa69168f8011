import { expect } from 'vitest';
import type { Fleet } from './fleet.ts';
import type { Pushed } from './spindle.ts';
import { until } from './until.ts';

/**
 * Waits until all of these have passed, and checks that nothing was lost or doubled on the way: each job has one build,
 * was asked for once, and its statuses rise once, for those in the outbox and for a strict reader alike.
 */
export async function everyPipelineOnce({ whorl, appview }: Fleet, pushed: Pushed[], withinMs = 90_000): Promise<void> {
  const { ci, sql, knot } = whorl;
  const isGreen = ({ rkey }: Pushed): boolean => {
    const jobs = Object.values(appview.view(knot.host, rkey)?.jobs ?? {});
    return jobs.length > 0 && jobs.every(({ status }) => status === 'success');
  };
  await until('all pipelines are green', () => pushed.every(isGreen), withinMs).catch(async (error: unknown) => {
    const open = pushed.filter((one) => !isGreen(one));
    const said = await sql<{ pipeline: string; said: string[] }[]>`
      select pipeline, array_agg(status || ' ' || state order by id) as said from statuses
      where pipeline = any(${open.map(({ id }) => id)}::text[]) group by pipeline`;
    const about = open.slice(0, 5).map(({ id, rkey }) => ({
      rkey,
      outbox: said.find(({ pipeline }) => pipeline === id)?.said,
      shown: appview.view(knot.host, rkey)?.jobs,
      builds: ci
        .builds()
        .filter(({ metaData }) => metaData['tack:pipeline_rkey'] === rkey)
        .map(({ state }) => state),
    }));
    throw new Error(`${open.length} of ${pushed.length} are not green: ${JSON.stringify(about)}`, { cause: error });
  });
  const keys = (rows: { pipeline: string; job: string }[]): string[] =>
    rows.map(({ pipeline, job }) => `${pipeline}/${job}`).toSorted();
  const jobs = keys(await sql<{ pipeline: string; job: string }[]>`select pipeline, name as job from jobs`);
  const built = ci.builds().map(({ metaData }) => ({
    pipeline: `pipeline/${knot.host}/${metaData['tack:pipeline_rkey']}`,
    job: metaData['tack:workflow'] ?? '',
  }));
  expect(new Set(jobs.map((job) => job.slice(0, job.lastIndexOf('/')))).size).toBe(pushed.length);
  expect(keys(built)).toEqual(jobs);
  const doubled = await sql`
    select pipeline, job, status from statuses where not resend and state = 'sent'
    group by pipeline, job, status, error having count(*) > 1`;
  expect(doubled).toEqual([]);
  expect(appview.problems).toEqual([]);
}
