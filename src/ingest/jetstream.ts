import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { readCursor } from '../store/cursors.ts';
import { watchStream } from '../metrics/live.ts';
import type { Sql } from '../store/db.ts';
import type { Refused } from '../store/refused.ts';
import { jetstreamReader, type JetstreamSettings, type JetstreamStats } from './jetstream-reader.ts';
import type { Lease, Running } from './leases.ts';

export const jetstreamDefaults: JetstreamSettings = {
  rewindMs: 5_000,
  hostRewindMs: 30_000,
  idleMs: 600_000,
  gapMs: 1_800_000,
  lateMs: 300_000,
  pingMs: 30_000,
  readDeadlineMs: 90_000,
  dialTimeoutMs: 10_000,
  redialMinMs: 1_000,
  redialMaxMs: 30_000,
  saveMs: 5_000,
  maxWaiting: 300,
  maxWaitingBytes: 8 * 1024 * 1024,
};

export type JetstreamSource = {
  /** its name for the lease manager; several hosts are several ways to the same records */
  source: 'jetstream';
  /** Reads it under this lease. */
  start(source: string, lease: Lease): Running;
  /** undefined while another process reads it */
  stats(): Readonly<JetstreamStats> | undefined;
  /**
   * Resolves when a listing of records may begin: the live stream is open, here or elsewhere, so that what happens
   * during the listing comes that way. Waits `openMs` at most, since without a jetstream the listings are all there is.
   */
  opened(signal: AbortSignal): Promise<void>;
};

/** The jetstream as a source for the lease manager. */
export function jetstreamSource(options: {
  sql: Sql;
  /** hosts in the order of preference, at least one */
  urls: readonly string[];
  /** the spindle's owner */
  owner: string;
  log: Logger;
  refused: Refused;
  /** The DID document of this account may have changed. */
  onIdentity?: ((did: string) => void) | undefined;
  settings?: Partial<JetstreamSettings> | undefined;
  /** how long `opened` waits; default 30 s */
  openMs?: number | undefined;
}): JetstreamSource {
  const { sql, urls, owner, refused, onIdentity = () => {}, openMs = 30_000 } = options;
  const settings = { ...jetstreamDefaults, ...options.settings };
  const source = 'jetstream';
  const open = Promise.withResolvers<true>();
  let current: { reader: Running; stats: JetstreamStats } | undefined;

  /** Another process reads it, or has read it: whoever takes it over goes on from there. */
  const isReadElsewhere = async (): Promise<boolean> => {
    const cursor = await readCursor(sql, source).catch(() => undefined);
    return current === undefined && cursor?.position !== undefined;
  };

  return {
    source,

    start(_source, lease) {
      const log = options.log.child({ source, epoch: `${lease.epoch}` });
      const stats: JetstreamStats = {
        connected: false,
        host: undefined,
        dials: 0,
        frames: 0,
        bad: 0,
        applied: 0,
        quarantined: 0,
        gaps: 0,
        lastFrameAt: undefined,
      };
      const onOpen = (): void => open.resolve(true);
      const about = { sql, source, lease, urls, owner, log, settings, stats, refused, onOpen, onIdentity };
      const reader = jetstreamReader(about);
      current = { reader, stats };
      const unwatch = watchStream(source, stats);
      return {
        async stop() {
          await reader.stop();
          unwatch();
          if (current?.reader === reader) current = undefined;
        },
      };
    },

    stats: () => current?.stats,

    async opened(signal) {
      const end = performance.now() + openMs;
      while (!signal.aborted && performance.now() < end) {
        if (await isReadElsewhere()) return;
        const look = delay(500, false, { signal }).catch(() => true);
        if (await Promise.race([open.promise, look])) return;
      }
    },
  };
}
