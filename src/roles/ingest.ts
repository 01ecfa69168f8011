import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { dispatchShare, dispatchSources } from '../ingest/dispatch.ts';
import { engine } from '../ingest/engine.ts';
import { knotSource } from '../ingest/knots.ts';
import { leaseManager } from '../ingest/leases.ts';
import { planners } from '../providers/planners.ts';
import { neverFails, type Role, type RoleDeps } from './role.ts';
import { openClient } from './temporal.ts';

export interface IngestOptions {
  /** How long a lease lasts, ms. */
  leaseMs?: number;
  knots?: Parameters<typeof knotSource>[0]['settings'];
}

/** Reads the knots and carries what waits in the inbox to Temporal. Its webhooks are routes of a server: see `http.ts`. */
export async function startIngest(
  { config, sql, log, temporal }: RoleDeps,
  options: IngestOptions = {},
): Promise<Role> {
  const client = openClient(temporal);
  const knots = knotSource({ sql, dev: config.dev, log, settings: options.knots });
  const dispatch = {
    sql,
    log,
    engine: engine(client, config.taskQueue),
    planners: planners({ buildkite: config.buildkite && { org: config.buildkite.org } }),
    durations: config.durations,
    pollMs: { fake: config.fake.pollMs },
    holdMs: config.dispatch.holdMs,
    concurrency: config.dispatch.concurrency,
  };
  const leases = leaseManager({
    sql,
    log,
    owner: `${hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`,
    wanted: async () => [...dispatchSources(), ...(await knots.wanted())],
    start: (source, lease) =>
      knots.isKnot(source) ? knots.start(source, lease) : dispatchShare(dispatch, source, lease),
    ttlMs: options.leaseMs,
  });
  return {
    failed: neverFails(),
    async stop() {
      await leases.stop();
      await client.connection.close();
    },
  };
}
