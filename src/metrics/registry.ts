import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** What this process counts about itself, for as long as it runs. */
export const registry = new Registry();

const registers = [registry];

export const counter = <L extends string = never>(name: string, help: string, labelNames: L[] = []): Counter<L> =>
  new Counter({ name, help, labelNames, registers });

export const gauge = <L extends string = never>(
  name: string,
  help: string,
  labelNames: L[] = [],
  collect?: (this: Gauge<L>) => void,
): Gauge<L> => new Gauge({ name, help, labelNames, registers, ...(collect && { collect }) });

/** Seconds, from a statement of a millisecond to a call that ran into its limit. */
const ordinary = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

export const histogram = <L extends string = never>(
  name: string,
  help: string,
  labelNames: L[] = [],
  buckets = ordinary,
): Histogram<L> => new Histogram({ name, help, labelNames, buckets, registers });

let started = false;

/** Memory, CPU, event loop and garbage collector. Once per process; the loop is sampled ten times a second. */
export function measureProcess(): void {
  if (started) return;
  started = true;
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 100 });
  // Gauges by the name of counters, which Prometheus's own checks refuse.
  for (const kind of ['handles', 'requests', 'resources']) registry.removeSingleMetric(`nodejs_active_${kind}_total`);
}
