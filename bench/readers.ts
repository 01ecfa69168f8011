import { setTimeout as delay } from 'node:timers/promises';
import { pipelineId } from '../src/pipeline/ids.ts';
import { publishStatuses } from '../src/store/statuses.ts';
import { startCrowd } from './crowd.ts';
import { addPipelines, knot } from './outbox.ts';
import type { Outcome, Place } from './place.ts';
import { startServing } from './serving.ts';
import { now, percentiles, rounded, shownPercentiles } from './stats.ts';

const readers = 500;
const pauseMs = 50;
const job = 'ci.yml';
/** So many come first, only to warm up. */
const warm = 20;

/**
 * Live readers of `/events`: from the commit of a status, as the process that published it learns of it, to the time at
 * which the last reader has it. Each status waits until all have the one before. The bare loop, in turn, is told the
 * same frame by PostgreSQL's own notice, which is the quickest way from a commit to another process.
 */
export async function live(place: Place): Promise<Outcome> {
  const count = place.quick ? 50 : 200;
  const serving = await startServing(place, 'bench_readers', (sql) => addPipelines(sql, warm + count, [job]));
  const { sql, url, bare } = serving;
  const [ours, floor] = await Promise.all([audience(`${url}/events`), audience(bare.live)]);
  const [whorl, loop]: [number[], number[]] = [[], []];
  for (let n = 1; n <= warm + count; n += 1) {
    const entry = { job, attempt: 1, epoch: 0, status: 'pending' as const };
    const one = await ours.hears(() => publishStatuses(sql, pipelineId(knot, `p${n}`), [entry]));
    await delay(pauseMs);
    const same = await floor.hears(() => sql`select pg_notify('bare', ${one.frame})`);
    await delay(pauseMs);
    if (n <= warm) continue;
    whorl.push(one.ms);
    loop.push(same.ms);
  }
  ours.stop();
  floor.stop();
  await serving.stop();

  const [mine, least] = [percentiles(whorl), percentiles(loop)];
  return {
    figures: {
      commit_to_last_reader_ms: { p50: rounded(mine.p50), p95: rounded(mine.p95) },
      floor_commit_to_last_reader_ms: { p50: rounded(least.p50), p95: rounded(least.p95) },
    },
    lines: [
      {
        name: `/events, commit → last of ${readers} readers`,
        figure: shownPercentiles(mine),
        unit: 'ms p50/p95',
        floor: { name: 'NOTIFY with the frame, bare ws loop', figure: shownPercentiles(least) },
        ratio: mine.p95 / least.p95,
      },
    ],
  };
}

/** Readers of one address, in two processes. */
async function audience(url: string) {
  const crowd = startCrowd(2);
  let heard = Promise.withResolvers<{ frame: string; at: number }>();
  await crowd.follow(url, readers, (frame, at) => heard.resolve({ frame, at }));
  return {
    /** The frame that follows from what is done, and how long after it was done the last reader had it, ms. */
    async hears(done: () => Promise<unknown>): Promise<{ frame: string; ms: number }> {
      heard = Promise.withResolvers();
      await done();
      const doneAt = now();
      const { frame, at } = await Promise.race([heard.promise, crowd.failed]);
      return { frame, ms: at - doneAt };
    },
    stop: () => crowd.stop(),
  };
}
