import { randomUUID } from 'node:crypto';
import pino from 'pino';
import { type BackfillSettings, backfillSource } from '../../src/ingest/backfill.ts';
import { leaseManager } from '../../src/ingest/leases.ts';
import type { Sql } from '../../src/store/db.ts';
import { refusedFrames } from '../../src/store/refused.ts';

/** As in production, but without its patience. */
export const quickBackfill: Partial<BackfillSettings> = {
  lookMinMs: 20,
  lookMaxMs: 500,
  retryMinMs: 100,
  retryMaxMs: 1_000,
  inactiveMs: 200,
  pace: { perSecond: 1_000, restMinMs: 50, restMaxMs: 500 },
};

export interface BackfillOptions {
  plcUrl: string;
  owner?: string;
  ttlMs?: number;
  settings?: Partial<BackfillSettings>;
  dev?: boolean;
}

/** The part of an ingest process that lists accounts. */
export function startLister(sql: Sql, { plcUrl, owner = randomUUID(), ttlMs, settings, dev = true }: BackfillOptions) {
  const level = process.env['WHORL_LOG_LEVEL'] ?? 'silent';
  const log = pino({ level }, pino.destination({ dest: 2, sync: true }));
  const refused = refusedFrames({ sql, log, restMs: 20 });
  const backfill = backfillSource({ sql, dev, plcUrl, log, refused, settings: { ...quickBackfill, ...settings } });
  const leases = leaseManager({
    sql,
    owner,
    ttlMs,
    log,
    wanted: () => Promise.resolve([backfill.source]),
    start: (source, lease) => backfill.start(source, lease),
  });
  return {
    owner,
    leases,
    backfill,
    stats: () => backfill.stats(),
    async stop(): Promise<void> {
      await leases.stop();
      await refused.close();
    },
  };
}

/** Everything that listings make, but for the times: those of two runs are never the same. */
export async function dumpTables(sql: Sql): Promise<unknown> {
  const records = await sql`select did, collection, rkey, rev, value from records order by did, collection, rkey`;
  const accounts = await sql`
    select did, active, status, listed_rev, listed_at is null as never, due_at > now() as later, tries, problem
    from accounts order by did`;
  const served = await sql`select knot, did, name, rkey, repo_did, source from served order by knot, did, name`;
  return { records: [...records], accounts: [...accounts], served: [...served] };
}

/** Whether an account was listed at its latest commit, and its next turn comes later. */
export async function isListed(sql: Sql, { did, rev }: { did: string; rev: string }): Promise<boolean> {
  const rows = await sql`
    select from accounts where did = ${did} and listed_rev = ${rev} and due_at > clock_timestamp() and tries = 0`;
  return rows.length > 0;
}

/** Its turn comes now, as it would in some hours. */
export async function makeDue(sql: Sql, did: string): Promise<void> {
  await sql`
    with due as (update accounts set due_at = clock_timestamp() where did = ${did})
    select pg_notify('accounts', '')`;
}
