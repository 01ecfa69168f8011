import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'commander';
import { startPostgres } from '../src/embedded/postgres.ts';
import { startTemporal } from '../src/embedded/temporal.ts';
import { startFloor } from './floor.ts';
import type { Load } from './load.ts';
import { medianOf, type Percentiles, percentiles } from './stats.ts';
import { startWhorl } from './whorl.ts';

const options = new Command('bench')
  .description(
    'Measure Whorl next to the engine that it runs on: the two in turn, on one Temporal, with the same load.',
  )
  .option('--rounds <n>', 'rounds; the median of each figure is printed', Number, 5)
  .option('--seconds <n>', 'length of a round', Number, 30)
  .option('--rate <n>', 'pipelines a second', Number, 2)
  .option('--jobs <n>', 'jobs of a pipeline', Number, 3)
  .option('--json', 'print the figures as JSON in the last line')
  .parse()
  .opts<{ rounds: number; seconds: number; rate: number; jobs: number; json?: boolean }>();

const say = (line: string): void => console.log(line);
const load: Load = {
  jobs: options.jobs,
  paceMs: 1_500,
  resendMs: 6_000,
  async each(begin) {
    const began = performance.now();
    const under: Promise<void>[] = [];
    for (let n = 0; n < options.rate * options.seconds; n += 1) {
      await delay(Math.max(0, began + (n * 1000) / options.rate - performance.now()));
      under.push(begin(n));
    }
    await Promise.all(under);
  },
  after: (ms, work) => delay(ms).then(work),
};

const dir = await mkdtemp(path.join(tmpdir(), 'whorl-bench-'));
// The database server may run as a user of its own.
await chmod(dir, 0o755);
// Durable, as in production: every commit waits for the disk.
const [postgres, temporal] = await Promise.all([
  startPostgres({ dir: path.join(dir, 'postgres'), log: say }),
  startTemporal({ dbFile: path.join(dir, 'temporal.db'), ui: false, log: say }),
]);
const whorl = await startWhorl(postgres.url, temporal.address, load);
const floor = await startFloor(temporal.address);
say(
  `${cpus().length} cores, Node ${process.version}; ${options.rate} pipelines/s of ${options.jobs} jobs over ${options.seconds} s, ${options.rounds} rounds`,
);

const figures = {
  trigger: [] as Percentiles[],
  start: [] as Percentiles[],
  webhook: [] as Percentiles[],
  signal: [] as Percentiles[],
};
const events = await whorl.eventsOfOneJob(load);
for (let n = 1; n <= options.rounds; n += 1) {
  const bare = await floor.round(load);
  const ours = await whorl.round(load);
  const missing = ours.starts.filter(Number.isNaN).length;
  const overtaken = ours.signals.filter(Number.isNaN).length;
  figures.start.push(percentiles(bare.starts));
  figures.trigger.push(percentiles(ours.starts));
  figures.signal.push(percentiles(bare.signals));
  figures.webhook.push(percentiles(ours.signals));
  const last = (all: Percentiles[]): string =>
    all.at(-1) ? `${all.at(-1)?.p50.toFixed(0)}/${all.at(-1)?.p95.toFixed(0)}` : '';
  say(
    `round ${n}: trigger → create ${last(figures.trigger)} (engine ${last(figures.start)}), ` +
      `webhook → frame ${last(figures.webhook)} (engine ${last(figures.signal)}) ms p50/p95; ` +
      `${ours.starts.length} pipelines, ${ours.signals.length} webhooks${missing ? `, ${missing} NEVER CREATED` : ''}${overtaken ? `, ${overtaken} overtaken` : ''}`,
  );
}

const result = {
  trigger_to_create_ms: medianOf(figures.trigger),
  floor_start_ms: medianOf(figures.start),
  webhook_to_frame_ms: medianOf(figures.webhook),
  floor_signal_ms: medianOf(figures.signal),
  events_one_job: events,
};
const ratio = (ours: Percentiles, bare: Percentiles): string => (ours.p95 / bare.p95).toFixed(2);
say('');
say('                                    p50 ms   p95 ms   p95 / engine');
const row = (name: string, { p50, p95 }: Percentiles, more = ''): void =>
  say(`${name.padEnd(34)} ${p50.toFixed(1).padStart(8)} ${p95.toFixed(1).padStart(8)}   ${more}`);
row(
  'trigger frame → CreateBuild',
  result.trigger_to_create_ms,
  ratio(result.trigger_to_create_ms, result.floor_start_ms),
);
row('  engine: start → first activity', result.floor_start_ms);
row(
  'webhook request → frame on /events',
  result.webhook_to_frame_ms,
  ratio(result.webhook_to_frame_ms, result.floor_signal_ms),
);
row('  engine: signal → one publish', result.floor_signal_ms);
say(`history events of a one-job pipeline: ${events}`);

await whorl.stop();
await floor.stop();
await Promise.all([postgres.stop(), temporal.stop()]);
await rm(dir, { recursive: true, force: true });
if (options.json) say(JSON.stringify(result));
process.exit(0);
