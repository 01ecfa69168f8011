import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startTemporal } from '../src/embedded/temporal.ts';
import { startFloor } from './floor.ts';
import type { Load } from './load.ts';
import { type Outcome, type Place, row } from './place.ts';
import { medianOf, type Percentiles, percentiles } from './stats.ts';
import { startWhorl } from './whorl.ts';

export interface LatencyOptions {
  rounds: number;
  /** Length of a round. */
  seconds: number;
  /** Pipelines a second. */
  rate: number;
  /** Of each pipeline. */
  jobs: number;
}

/** All three roles beside the engine alone: the two in turn, on one Temporal, with the same load. */
export async function latency(place: Place, { rounds, seconds, rate, jobs }: LatencyOptions): Promise<Outcome> {
  const { say, postgresUrl, dir } = place;
  const load: Load = {
    jobs,
    paceMs: 1_500,
    resendMs: 6_000,
    async each(begin) {
      const began = performance.now();
      const under: Promise<void>[] = [];
      for (let n = 0; n < rate * seconds; n += 1) {
        await delay(Math.max(0, began + (n * 1000) / rate - performance.now()));
        under.push(begin(n));
      }
      await Promise.all(under);
    },
    after: (ms, work) => delay(ms).then(work),
  };
  const temporal = await startTemporal({ dbFile: path.join(dir, 'temporal.db'), ui: false, log: say });
  const whorl = await startWhorl(postgresUrl, temporal.address, load);
  const floor = await startFloor(temporal.address);
  say(`${rate} pipelines/s of ${jobs} jobs over ${seconds} s, ${rounds} rounds`);

  const trigger: Percentiles[] = [];
  const start: Percentiles[] = [];
  const webhook: Percentiles[] = [];
  const signal: Percentiles[] = [];
  const keep = (all: Percentiles[], samples: number[]): string => {
    const found = percentiles(samples);
    all.push(found);
    return `${found.p50.toFixed(0)}/${found.p95.toFixed(0)}`;
  };
  const events = await whorl.eventsOfOneJob(load);
  for (let n = 1; n <= rounds; n += 1) {
    const bare = await floor.round(load);
    const ours = await whorl.round(load);
    const missing = ours.starts.filter(Number.isNaN).length;
    const overtaken = ours.signals.filter(Number.isNaN).length;
    say(
      `round ${n}: trigger → create ${keep(trigger, ours.starts)} (engine ${keep(start, bare.starts)}), ` +
        `webhook → frame ${keep(webhook, ours.signals)} (engine ${keep(signal, bare.signals)}) ms p50/p95; ` +
        `${ours.starts.length} pipelines, ${ours.signals.length} webhooks${missing ? `, ${missing} NEVER CREATED` : ''}${overtaken ? `, ${overtaken} overtaken` : ''}`,
    );
  }
  await whorl.stop();
  await floor.stop();
  await temporal.stop();

  const figures = {
    trigger_to_create_ms: medianOf(trigger),
    floor_start_ms: medianOf(start),
    webhook_to_frame_ms: medianOf(webhook),
    floor_signal_ms: medianOf(signal),
    events_one_job: events,
  };
  const line = (name: string, { p50, p95 }: Percentiles, floorOf?: Percentiles): string =>
    row(
      name,
      `${p50.toFixed(1)} / ${p95.toFixed(1)}`,
      'ms p50/p95',
      floorOf && `${(p95 / floorOf.p95).toFixed(2)} × at p95`,
    );
  return {
    figures,
    table: [
      line('trigger frame → CreateBuild', figures.trigger_to_create_ms, figures.floor_start_ms),
      line('  engine: start → first activity', figures.floor_start_ms),
      line('webhook request → frame on /events', figures.webhook_to_frame_ms, figures.floor_signal_ms),
      line('  engine: signal → one publish', figures.floor_signal_ms),
      row('history events of a one-job pipeline', String(events), ''),
    ],
  };
}
