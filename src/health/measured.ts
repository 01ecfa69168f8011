import { Gauge, Registry } from 'prom-client';
import { type Measures, measure, measureSizes, type Sizes } from '../store/measures.ts';
import type { Sql } from '../store/db.ts';

export interface MeasuredOptions {
  /** How long an answer of the database counts. Default 5 s. */
  keepMs?: number;
  /** How long a scrape waits for it. Default 2 s. */
  deadlineMs?: number;
  /** The same as `keepMs` for what grows slowly. Default a minute. */
  keepSizesMs?: number;
  /** Told why the database could not be asked. */
  onFailure?: (error: unknown) => void;
}

/**
 * Gauges of what only the database knows. It is asked when somebody scrapes and at no other time, not again within
 * seconds, and never twice at once; when it does not answer in time, `whorl_database_up` is 0 and the rest is left out.
 */
export function measured(sql: Sql, options: MeasuredOptions = {}): { text(): Promise<string> } {
  const { keepMs = 5_000, deadlineMs = 2_000, keepSizesMs = 60_000, onFailure = () => {} } = options;
  const registry = new Registry();
  const gauges = makeGauges(registry);
  const ask = [kept(keepMs, () => measure(sql)), kept(keepSizesMs, () => measureSizes(sql))] as const;
  return {
    async text() {
      registry.resetMetrics();
      try {
        const [now, sizes] = await within(
          deadlineMs,
          Promise.all(ask.map((one) => one()) as [Promise<Measures>, Promise<Sizes>]),
        );
        show(gauges, now, sizes);
        gauges.up.set(1);
        return await registry.metrics();
      } catch (error) {
        onFailure(error);
        gauges.up.set(0);
        return registry.getSingleMetricAsString('whorl_database_up');
      }
    },
  };
}

function kept<T>(ms: number, ask: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | undefined;
  let until = 0;
  return () => {
    if (answer && performance.now() < until) return answer;
    until = Infinity;
    const asked = ask();
    answer = asked;
    asked.then(
      () => (until = performance.now() + ms),
      () => (until = 0),
    );
    return asked;
  };
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

type Gauges = ReturnType<typeof makeGauges>;

function makeGauges(registry: Registry) {
  const gauge = <L extends string = never>(name: string, help: string, labelNames: L[] = []): Gauge<L> =>
    new Gauge({ name, help, labelNames, registers: [registry] });
  return {
    up: gauge('whorl_database_up', '1 when the database answered this scrape in time.'),
    inbox: gauge('whorl_inbox_waiting', 'Rows that dispatch has not settled.', ['kind']),
    inboxAge: gauge('whorl_inbox_oldest_seconds', 'Age of the oldest of them.', ['kind']),
    held: gauge('whorl_triggers_held', 'Triggers that wait for a record that may choose their repository.'),
    heldAge: gauge('whorl_triggers_held_oldest_seconds', 'Age of the oldest of them.'),
    withheld: gauge('whorl_statuses_withheld', 'Statuses that wait for their time to be shown.'),
    withheldAge: gauge('whorl_statuses_overdue_seconds', 'How long the oldest of them is overdue.'),
    parked: gauge('whorl_jobs_parked', 'Jobs that wait for the operator, by the class of the failure.', ['cause']),
    parkedAge: gauge('whorl_jobs_parked_oldest_seconds', 'How long the oldest of them waits.', ['cause']),
    jobs: gauge('whorl_jobs_open', 'Jobs that have not ended, by their last status.', ['status']),
    pipelines: gauge('whorl_pipelines_open', 'Pipelines with such jobs; one may count for several statuses.', [
      'status',
    ]),
    openAge: gauge('whorl_pipelines_open_oldest_seconds', 'Age of the oldest of them.', ['status']),
    lag: gauge('whorl_cursor_lag_seconds', 'Age of the last event that was stored of a source.', ['source']),
    down: gauge('whorl_source_down_seconds', 'How long a source has not been read; 0 while it is.', ['source']),
    learnt: gauge('whorl_ends_learnt', 'Attempts that ended in the last hour, by how that was first learnt.', [
      'org',
      'how',
    ]),
    allowed: gauge('whorl_ci_rate_limit', 'Calls that the CI allows in its window.', ['bucket']),
    remaining: gauge('whorl_ci_rate_limit_remaining', 'Calls that are left of it.', ['bucket']),
    resets: gauge('whorl_ci_rate_limit_resets_seconds', 'Seconds until the window is over.', ['bucket']),
    create: gauge('whorl_create_latency_seconds', 'Trigger received to build bound, of the last 15 minutes.', [
      'percentile',
    ]),
    first: gauge('whorl_first_status_latency_seconds', 'Trigger received to first status, of the last 15 minutes.', [
      'percentile',
    ]),
    webhook: gauge('whorl_webhook_latency_seconds', 'Webhook received to end published, of the last 15 minutes.', [
      'percentile',
    ]),
    unowned: gauge('whorl_dispatch_shares_unowned', 'Shares of dispatch that no process works on.'),
    database: gauge('whorl_database_size_bytes', 'Size of the database.'),
    logs: gauge('whorl_logs_stored_bytes', 'What the kept logs take, compressed.'),
    quarantined: gauge('whorl_quarantine_rows', 'Rows that PostgreSQL refused, kept as bytes.'),
    refused: gauge('whorl_refused_frames', 'Frames that were none, kept for people to read.'),
  };
}

function show(gauges: Gauges, now: Measures, sizes: Sizes): void {
  for (const { kind, waiting, oldest } of now.inbox) {
    if (kind === 'held') {
      gauges.held.set(waiting);
      gauges.heldAge.set(oldest);
    } else if (kind === 'withheld') {
      gauges.withheld.set(waiting);
      gauges.withheldAge.set(oldest);
    } else {
      gauges.inbox.set({ kind }, waiting);
      gauges.inboxAge.set({ kind }, oldest);
    }
  }
  for (const { kind: cause, waiting, oldest } of now.parked) {
    gauges.parked.set({ cause }, waiting);
    gauges.parkedAge.set({ cause }, oldest);
  }
  for (const { status, jobs, pipelines, oldest } of now.open) {
    gauges.jobs.set({ status }, jobs);
    gauges.pipelines.set({ status }, pipelines);
    gauges.openAge.set({ status }, oldest);
  }
  for (const { source, lag, waiting } of now.sources) {
    if (lag !== null) gauges.lag.set({ source }, lag);
    if (waiting !== null) gauges.down.set({ source }, waiting);
  }
  for (const { org, how, ends } of now.learnt) gauges.learnt.set({ org, how }, ends);
  for (const { bucket, allowed, remaining, resetsIn } of now.rates) {
    if (allowed !== null) gauges.allowed.set({ bucket }, allowed);
    if (remaining !== null) gauges.remaining.set({ bucket }, remaining);
    if (resetsIn !== null) gauges.resets.set({ bucket }, Math.max(0, resetsIn));
  }
  const latencyOf = { create: gauges.create, first_status: gauges.first, webhook_to_status: gauges.webhook };
  for (const { kind, p50, p95, p99 } of now.latencies) {
    for (const [percentile, value] of [
      ['50', p50],
      ['95', p95],
      ['99', p99],
    ] as const) {
      if (value !== null) latencyOf[kind].set({ percentile }, Math.max(0, value));
    }
  }
  gauges.unowned.set(now.unowned);
  gauges.database.set(sizes.database);
  gauges.logs.set(sizes.logs);
  gauges.quarantined.set(sizes.quarantined);
  gauges.refused.set(sizes.refused);
}
