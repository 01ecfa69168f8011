import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { type BackfillSettings, backfillSource } from '../ingest/backfill.ts';
import { dispatcher, dispatchSources } from '../ingest/dispatch.ts';
import { engine } from '../ingest/engine.ts';
import type { JetstreamSettings } from '../ingest/jetstream-reader.ts';
import { jetstreamSource } from '../ingest/jetstream.ts';
import { knotSource } from '../ingest/knots.ts';
import { leaseManager } from '../ingest/leases.ts';
import { watchLeases } from '../metrics/live.ts';
import { planners } from '../providers/planners.ts';
import { refusedFrames } from '../store/refused.ts';
import { beNobody, beSpindle } from '../store/spindle.ts';
import { neverFails, type Role, type RoleDeps } from './role.ts';
import { openClient } from './temporal.ts';

export interface IngestOptions {
  /** How long a lease lasts, ms. */
  leaseMs?: number;
  knots?: Parameters<typeof knotSource>[0]['settings'];
  jetstream?: Partial<JetstreamSettings>;
  backfill?: Partial<BackfillSettings>;
}

/**
 * Reads the network's records and the knots, and carries what waits in the inbox to Temporal. Its webhooks are routes of
 * a server: see `faces.ts`.
 */
export async function startIngest(deps: RoleDeps, options: IngestOptions = {}): Promise<Role> {
  const { config, sql, log, temporal } = deps;
  const online = config.network.jetstream.length > 0;
  await introduce(deps, online);
  const client = openClient(temporal);
  const refused = refusedFrames({ sql, log });
  const knots = knotSource({ sql, dev: config.dev, log, refused, settings: options.knots });
  const dispatch = dispatcher({
    sql,
    log,
    engine: engine(client, config.taskQueue),
    planners: planners({ buildkite: config.buildkite && { org: config.buildkite.org } }),
    durations: config.durations,
    pollMs: { fake: config.fake.pollMs },
    holdMs: config.dispatch.holdMs,
    concurrency: config.dispatch.concurrency,
  });
  const { plcUrl, jetstream: urls } = config.network;
  const backfill = backfillSource({ sql, dev: config.dev, plcUrl, log, refused, settings: options.backfill });
  const jetstream = jetstreamSource({
    sql,
    urls,
    owner: config.owner,
    log,
    refused,
    settings: options.jetstream,
    onIdentity: backfill.moved,
  });
  const network = online ? [jetstream, backfill] : [];
  const stopping = new AbortController();
  let isLive = false;
  const leases = leaseManager({
    sql,
    log,
    owner: `${hostname()}:${process.pid}:${randomUUID().slice(0, 8)}`,
    wanted: async (told) => [
      ...network.filter((each) => isLive || each !== backfill).map(({ source }) => source),
      ...dispatchSources(),
      ...(await knots.wanted(told)),
    ],
    start(source, lease) {
      const one = network.find((each) => each.source === source);
      if (one) return one.start(source, lease);
      return knots.isKnot(source) ? knots.start(source, lease) : dispatch.start(source, lease);
    },
    ttlMs: options.leaseMs,
  });
  const unwatch = watchLeases(leases.held);
  // what happens while the records are listed comes by the live stream, so that opens first
  const lookAgain = (): void => {
    isLive = true;
    leases.notify();
  };
  if (online) void jetstream.opened(stopping.signal).then(lookAgain);
  return {
    failed: neverFails(),
    async stop() {
      stopping.abort();
      await leases.stop();
      unwatch();
      await refused.close();
      await client.connection.close();
    },
  };
}

/** Says in the database who this spindle is: whose records count. Without a jetstream, none do. */
async function introduce({ config, sql, log }: RoleDeps, online: boolean): Promise<void> {
  const { hostname: host, owner } = config;
  const before = online ? await beSpindle(sql, { host, owner }) : await beNobody(sql);
  if (before && online) {
    log.warn(
      { host, owner, before },
      'this spindle has another host or owner than before: what happened before now does not count; ' +
        'processes of the old configuration must not be started again',
    );
  }
  if (before && !online) log.warn({ before }, 'without a jetstream, only pinned repositories are served from now on');
}
