import { randomUUID } from 'node:crypto';
import pino from 'pino';
import type { KnotSettings } from '../../src/ingest/knot-reader.ts';
import { knotSource } from '../../src/ingest/knots.ts';
import { leaseManager } from '../../src/ingest/leases.ts';
import type { Sql } from '../../src/store/db.ts';
import { refusedFrames } from '../../src/store/refused.ts';

/** as in production, but with waits that suit a test */
export const quick: Partial<KnotSettings> = { drainIdleMs: 100, redialMinMs: 20, redialMaxMs: 200, saveMs: 50 };

/** The part of an ingest process that reads knots. */
export function startKnotIngest(
  sql: Sql,
  options: { owner?: string; ttlMs?: number; settings?: Partial<KnotSettings> } = {},
) {
  const log = pino({ level: process.env['TEST_LOG'] ?? 'silent' }, pino.destination({ dest: 2, sync: true }));
  const owner = options.owner ?? randomUUID();
  const refused = refusedFrames({ sql, log, restMs: 20 });
  const knots = knotSource({ sql, dev: true, log, refused, settings: { ...quick, ...options.settings } });
  const leases = leaseManager({
    sql,
    owner,
    ttlMs: options.ttlMs,
    log,
    wanted: () => knots.wanted(),
    start: (source, lease) => knots.start(source, lease),
  });
  const stop = async (): Promise<void> => {
    await leases.stop();
    await refused.close();
  };
  return { owner, knots, leases, stop };
}
