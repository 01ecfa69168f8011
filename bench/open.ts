import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { BuildkiteSim, RouteName } from '../sim/buildkite/index.ts';
import { startTemporal } from '../src/embedded/temporal.ts';
import { callsAt } from './calls.ts';
import type { Load } from './load.ts';
import { atMost, type Line, mb, type Outcome, type Place } from './place.ts';
import { memoryOf } from './roles.ts';
import { whorlRound } from './round.ts';
import { type Percentiles, percentiles, rounded, shownPercentiles } from './stats.ts';
import { jobName, startWhorl, type WhorlUnderTest } from './whorl.ts';

/** The worker's own setting. */
const cached = 300;
/** So many are being opened at once. */
const atOnce = 40;
const load: Load = { jobs: 3, paceMs: 1_500, resendMs: 45_000 };

/** Builds of files with this name run until the end of the world. */
export const openJobs = (ci: BuildkiteSim): void =>
  ci.script(({ metaData }) => (metaData['tack:workflow']?.startsWith('open') ? ['scheduled', 'running'] : undefined));

/** What open pipelines cost: memory with a thousand of them; latency with many beside that with few, both if not said otherwise. */
export async function open(place: Place, only?: 'memory'): Promise<Outcome> {
  const { say, dir, quick } = place;
  const temporal = await startTemporal({ dbFile: path.join(dir, `temporal-open-${only ?? 'all'}.db`), log: say });
  // Every duration is production's. The budget for the CI is not, or it would be all that is measured.
  const name = `bench_open_${only ?? 'all'}`;
  const whorl = await startWhorl(place, { name, temporal: temporal.address, paceMs: load.paceMs });
  openJobs(whorl.ci);
  const opened = counter(whorl, say);
  await delay(3_000);
  const empty = await memory(whorl);

  const [few, some, many] = [10, quick ? 200 : 1_000, quick ? 500 : 5_000];
  const round = async () => {
    const { starts, signals } = await whorlRound(whorl, load, { rate: 2, seconds: quick ? 10 : 20 });
    return { trigger: percentiles(starts), webhook: percentiles(signals) };
  };
  let before: Awaited<ReturnType<typeof round>> | undefined;
  if (only === undefined) {
    await opened(few);
    await round();
    before = await round();
  }
  await opened(some);
  await delay(5_000);
  const full = await memory(whorl);
  const outcome: Outcome = memoryOutcome(some, full, empty);
  if (before) {
    await opened(many);
    const burden = await burdenOf(whorl, temporal.metricsUrl, quick ? 10_000 : 30_000);
    const after = await round();
    const found = latencyOutcome([few, many], before, after);
    say(`with ${many} open, before any more work: ${JSON.stringify(burden)} a minute`);
    outcome.lines.push(...found.lines, burdenLine(many, burden));
    Object.assign(outcome.figures, found.figures, { open_burden_per_minute: burden });
  }
  await whorl.stop();
  await temporal.stop();
  return outcome;
}

/** Opens pipelines of one job until there are so many; each is open when its build runs and readers know. */
function counter(whorl: WhorlUnderTest, say: (line: string) => void): (until: number) => Promise<void> {
  let [begun, open] = [0, 0];
  return async (until) => {
    const began = performance.now();
    const from = open;
    const one = async (): Promise<void> => {
      while (begun < until) {
        begun += 1;
        await whorl.shown(whorl.push(1, 'open'), jobName(0, 'open'), 'running');
        open += 1;
        if (open % 500 === 0)
          say(`${open} open, ${Math.round(((open - from) * 1000) / (performance.now() - began))}/s`);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, one));
  };
}

type Memory = Record<string, number>;

/** MB by role: the most of some looks, since a heap breathes. */
async function memory({ roles }: WhorlUnderTest): Promise<Memory> {
  const most: Memory = {};
  for (let n = 0; n < 20; n += 1) {
    for (const { name, pid } of roles) most[name] = Math.max(most[name] ?? 0, await memoryOf(pid));
    await delay(100);
  }
  return most;
}

const sum = (of: Memory): number => Object.values(of).reduce((all, one) => all + one, 0);
const shown = (of: Memory): string =>
  Object.entries(of)
    .map(([role, size]) => `${role} ${mb(size)}`)
    .join(', ');

const memoryOutcome = (count: number, full: Memory, empty: Memory): Outcome => ({
  figures: {
    memory_open_pipelines: count,
    memory_mb: Object.fromEntries(Object.entries(full).map(([role, size]) => [role, mb(size)])),
    floor_memory_mb: Object.fromEntries(Object.entries(empty).map(([role, size]) => [role, mb(size)])),
    memory_cached_workflows: cached,
  },
  lines: [
    {
      name: `all roles with ${count.toLocaleString('en')} open pipelines (${shown(full)}; ${cached} cached workflows)`,
      figure: String(mb(sum(full))),
      unit: 'MiB',
      floor: { name: `with none, just started (${shown(empty)})`, figure: String(mb(sum(empty))) },
      ratio: sum(full) / sum(empty),
      goal: atMost(mb(sum(full)), 400, ' MiB'),
    },
  ],
});

interface Found {
  trigger: Percentiles;
  webhook: Percentiles;
}

function latencyOutcome([few = 0, many = 0]: number[], before: Found, after: Found): Outcome {
  const line = (name: string, mine: Percentiles, least: Percentiles): Line => ({
    name: `${name}, ${many.toLocaleString('en')} open`,
    figure: shownPercentiles(mine),
    unit: 'ms p50/p95',
    floor: { name: `with ${few} open`, figure: shownPercentiles(least) },
    ratio: mine.p95 / least.p95,
    goal: atMost(mine.p95 / least.p95, 1.3, ' × at p95'),
  });
  const figure = ({ trigger, webhook }: Found) => ({
    trigger_to_create_ms: { p50: rounded(trigger.p50), p95: rounded(trigger.p95) },
    webhook_to_frame_ms: { p50: rounded(webhook.p50), p95: rounded(webhook.p95) },
  });
  return {
    figures: { open_many: many, at_many_open: figure(after), open_few: few, at_few_open: figure(before) },
    lines: [
      line('trigger frame → CreateBuild', after.trigger, before.trigger),
      line('webhook request → frame on /events', after.webhook, before.webhook),
    ],
  };
}

/** A minute of it. */
interface Burden {
  /** Builds that were silent, read one by one, and lists. */
  reads: number;
  lists: number;
  temporalCalls: number;
  statements: number;
}

/** What open pipelines ask for by themselves. Each statement of Whorl is a transaction of its own. */
async function burdenOf(whorl: WhorlUnderTest, metricsUrl: string, forMs: number): Promise<Burden> {
  const look = async (): Promise<Burden> => {
    const [row] = await whorl.sql<[{ statements: number }]>`
      select xact_commit::float8 as statements from pg_stat_database where datname = current_database()`;
    const asked = (route: RouteName): number => whorl.ci.requests.filter((request) => request.route === route).length;
    return {
      reads: asked('get'),
      lists: asked('list'),
      temporalCalls: (await callsAt(metricsUrl)).all,
      statements: row.statements,
    };
  };
  const before = await look();
  await delay(forMs);
  const after = await look();
  const perMinute = (of: keyof Burden): number => Math.round(((after[of] - before[of]) * 60_000) / forMs);
  return {
    reads: perMinute('reads'),
    lists: perMinute('lists'),
    temporalCalls: perMinute('temporalCalls'),
    statements: perMinute('statements'),
  };
}

const burdenLine = (many: number, { reads, lists, temporalCalls, statements }: Burden): Line => ({
  name: `what ${many.toLocaleString('en')} open ones ask for: reads and lists at the CI, calls of Temporal, statements`,
  figure: [reads, lists, temporalCalls, statements].join(', '),
  unit: 'a minute',
});
