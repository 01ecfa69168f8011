import { randomUUID } from 'node:crypto';
import pino from 'pino';
import { backfillSource, type BackfillSettings } from '../../src/ingest/backfill.ts';
import type { JetstreamSettings } from '../../src/ingest/jetstream-reader.ts';
import { jetstreamSource } from '../../src/ingest/jetstream.ts';
import { leaseManager } from '../../src/ingest/leases.ts';
import type { Sql } from '../../src/store/db.ts';
import { refusedFrames } from '../../src/store/refused.ts';
import { beSpindle } from '../../src/store/spindle.ts';

/** as in production, but with waits that suit a test */
export const quick: Partial<JetstreamSettings> = { redialMinMs: 20, redialMaxMs: 200, saveMs: 50 };

export interface JetstreamIngestOptions {
  urls: readonly string[];
  /** of this spindle, as is its host */
  owner: string;
  host: string;
  settings?: Partial<JetstreamSettings>;
  ttlMs?: number | undefined;
  name?: string;
  /** the accounts' servers are listed too */
  backfill?: { plcUrl: string; settings?: Partial<BackfillSettings> };
  onIdentity?: (did: string) => void;
  openMs?: number;
}

/** The part of an ingest process that reads the network's records. */
export async function startJetstreamIngest(sql: Sql, options: JetstreamIngestOptions) {
  const { urls, owner, host, ttlMs, name = randomUUID(), onIdentity, openMs } = options;
  const lines: Record<string, unknown>[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(parsed(line)) });
  await beSpindle(sql, { host, owner });
  const refused = refusedFrames({ sql, log, restMs: 20 });
  const settings = { ...quick, ...options.settings };
  const jetstream = jetstreamSource({ sql, urls, owner, log, refused, settings, onIdentity, openMs });
  const backfill =
    options.backfill &&
    backfillSource({
      sql,
      dev: true,
      log,
      refused,
      plcUrl: options.backfill.plcUrl,
      settings: options.backfill.settings,
    });
  const leases = leaseManager({
    sql,
    owner: name,
    ttlMs,
    log,
    wanted: async () => [jetstream.source, ...(backfill ? [backfill.source] : [])],
    start: (source, lease) => (source === backfill?.source ? backfill : jetstream).start(source, lease),
  });
  return {
    name,
    leases,
    /** what it logged */
    lines,
    jetstream,
    async stop(): Promise<void> {
      await leases.stop();
      await refused.close();
    },
  };
}

function parsed(line: string): Record<string, unknown> {
  if (process.env['WHORL_LOG_LEVEL'] === 'debug') process.stderr.write(line);
  return JSON.parse(line) as Record<string, unknown>;
}

/** The records as they are here, each on a line, in the order of their keys. `since` only where it is asked for. */
export async function dumpRecords(sql: Sql, about: { since?: boolean; live?: boolean } = {}): Promise<string[]> {
  const rows = await sql<{ row: string }[]>`
    select did || ' ' || collection || ' ' || rkey || ' ' || coalesce(value::text, 'gone')
      || ${about.live ? sql`''` : sql`' ' || rev`} || ${about.since ? sql`' ' || since::text` : sql`''`} as row
    from records where value is not null or ${!about.live} order by did collate "C", collection, rkey`;
  return rows.map(({ row }) => row);
}

/** What is served by records: `did/name on knot`. */
export async function dumpServed(sql: Sql): Promise<string[]> {
  const rows = await sql<{ row: string }[]>`
    select did || '/' || name || ' on ' || knot as row from served where source = 'record' order by row`;
  return rows.map(({ row }) => row);
}

/** What is known of accounts, but for when they are listed. */
export async function dumpAccounts(sql: Sql): Promise<string[]> {
  const rows = await sql<{ row: string }[]>`
    select did || ' ' || active || ' ' || coalesce(status, '') || ' ' || coalesce(floor, '') as row
    from accounts order by did collate "C"`;
  return rows.map(({ row }) => row);
}

/** Puts the stream's cursor where an earlier run is to have left it. */
export async function startAt(sql: Sql, ms: number): Promise<void> {
  await sql`
    insert into cursors (source, position) values ('jetstream', ${BigInt(ms) * 1_000_000n})
    on conflict (source) do update set position = excluded.position`;
}
