import path from 'node:path';
import { startTemporal } from '../src/embedded/temporal.ts';
import { startFloor } from './floor.ts';
import { inFlight, type Load } from './load.ts';
import { atLeast, type Outcome, type Place } from './place.ts';
import { median, rounded } from './stats.ts';
import { jobName, startWhorl, type WhorlUnderTest } from './whorl.ts';

/** So many are under way all the time, which is more than either side can work on at once. */
const underWay = 50;
const load: Load = { jobs: 3, paceMs: 1_200, resendMs: 3_000 };

/** How many pipelines a second come to their end, when a new one begins whenever one ends: Whorl and the engine alone in turn. */
export async function sustained(place: Place): Promise<Outcome> {
  const { say, dir, quick } = place;
  const time = quick ? { warmMs: 8_000, forMs: 10_000 } : { warmMs: 10_000, forMs: 20_000 };
  const temporal = await startTemporal({ dbFile: path.join(dir, 'temporal-sustained.db'), log: say });
  const whorl = await startWhorl(place, {
    name: 'bench_sustained',
    temporal: temporal.address,
    paceMs: load.paceMs,
    env: { WHORL_RESEND_AFTER: `${load.resendMs}ms` },
  });
  const floor = await startFloor(temporal.address);
  const [ours, bare]: [number[], number[]] = [[], []];
  const pushed: string[] = [];
  for (let n = 1; n <= (quick ? 1 : 2); n += 1) {
    const least = { starts: [], signals: [] };
    bare.push(await inFlight(underWay, time, () => floor.run(load, least)));
    const rate = await inFlight(underWay, time, async () => {
      const rkey = whorl.push(load.jobs);
      pushed.push(rkey);
      await whorl.ended(rkey);
    });
    ours.push(rate);
    say(`sustained ${n}: ${rate.toFixed(1)} pipelines/s (engine ${bare.at(-1)?.toFixed(1)})`);
  }
  const { lost, doubled } = await account(whorl, pushed);
  await whorl.stop();
  await floor.stop();
  await temporal.stop();

  const [mine, least] = [median(ours), median(bare)];
  return {
    figures: {
      sustained_pipelines_per_s: rounded(mine),
      floor_sustained_pipelines_per_s: rounded(least),
      sustained_pipelines: pushed.length,
      sustained_lost: lost,
      sustained_doubled: doubled,
    },
    lines: [
      {
        name: `pipelines of ${load.jobs} jobs, ${underWay} under way`,
        figure: mine.toFixed(1),
        unit: 'a second',
        floor: { name: 'engine: workflows of the same shape', figure: least.toFixed(1) },
        ratio: mine / least,
        goal: atLeast(mine / least, 0.6, ' ×'),
      },
      {
        name: `  lost, doubled of ${(pushed.length * load.jobs).toLocaleString('en')} jobs`,
        figure: `${lost}, ${doubled}`,
        unit: '',
        goal: { text: '0, 0', met: lost === 0 && doubled === 0 },
      },
    ],
  };
}

/** Jobs without a build or without their right end, and builds more than one of a job. */
async function account(
  { ci, knot, sql }: WhorlUnderTest,
  pushed: readonly string[],
): Promise<{ lost: number; doubled: number }> {
  const builds = new Map<string, number>();
  for (const { metaData } of ci.builds()) {
    const job = `${metaData['tack:pipeline_rkey']} ${metaData['tack:workflow']}`;
    builds.set(job, (builds.get(job) ?? 0) + 1);
  }
  const rows = await sql<{ rkey: string; job: string }[]>`
    select distinct pipeline_rkey as rkey, job from statuses where knot = ${knot.host} and status = 'success' and cursor is not null`;
  const right = new Set(rows.map(({ rkey, job }) => `${rkey} ${job}`));
  const jobs = pushed.flatMap((rkey) => Array.from({ length: load.jobs }, (_, n) => `${rkey} ${jobName(n)}`));
  return {
    lost: jobs.filter((job) => !builds.has(job) || !right.has(job)).length,
    doubled: [...builds.values()].reduce((sum, count) => sum + count - 1, 0),
  };
}
