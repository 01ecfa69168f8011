import path from 'node:path';
import { startTemporal } from '../src/embedded/temporal.ts';
import { startFloor } from './floor.ts';
import { atRate, type Load, type Round } from './load.ts';
import { atMost, type Line, type Outcome, type Place } from './place.ts';
import { whorlRound } from './round.ts';
import { medianOf, type Percentiles, percentiles, shownPercentiles } from './stats.ts';
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
  const { say, dir } = place;
  const load: Load = { jobs, paceMs: 1_500, resendMs: 6_000 };
  const temporal = await startTemporal({ dbFile: path.join(dir, 'temporal-latency.db'), log: say });
  const env = { WHORL_RESEND_AFTER: `${load.resendMs}ms` };
  const whorl = await startWhorl(place, {
    name: 'bench_latency',
    temporal: temporal.address,
    paceMs: load.paceMs,
    env,
  });
  const floor = await startFloor(temporal.address);
  const both = async (forSeconds: number): Promise<{ ours: Round; bare: Round }> => {
    const bare: Round = { starts: [], signals: [] };
    await atRate(rate, forSeconds, () => floor.run(load, bare));
    return { bare, ours: await whorlRound(whorl, load, { rate, seconds: forSeconds }) };
  };
  await both(5);
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
  for (let n = 1; n <= rounds; n += 1) {
    const { ours, bare } = await both(seconds);
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
  };
  const line = (name: string, ours: Percentiles, floorName: string, bare: Percentiles): Line => ({
    name,
    figure: shownPercentiles(ours),
    unit: 'ms p50/p95',
    floor: { name: floorName, figure: shownPercentiles(bare) },
    ratio: ours.p95 / bare.p95,
    goal: atMost(ours.p95 / bare.p95, 1.25, ' × at p95'),
  });
  return {
    figures,
    lines: [
      line(
        'trigger frame → CreateBuild',
        figures.trigger_to_create_ms,
        'engine: start → first activity',
        figures.floor_start_ms,
      ),
      line(
        'webhook request → frame on /events',
        figures.webhook_to_frame_ms,
        'engine: signal → one publish',
        figures.floor_signal_ms,
      ),
    ],
  };
}
