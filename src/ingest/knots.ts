import type { Logger } from 'pino';
import { addressGuard, type GuardOptions } from '../clients/guard.ts';
import { forgetUnwantedKnots } from '../store/cursors.ts';
import { watchStream } from '../metrics/live.ts';
import type { Sql } from '../store/db.ts';
import type { Refused } from '../store/refused.ts';
import { type WantedKnot, wantedKnots } from '../store/repos.ts';
import { type KnotReader, type KnotSettings, type KnotStats, knotReader } from './knot-reader.ts';
import { knotNameProblem } from './knot-url.ts';
import type { Lease, Running } from './leases.ts';

const prefix = 'knot/';

/** A notice may be lost; but to look at all that is served costs something when there is much of it. */
const untoldMs = 30_000;

export const knotDefaults: KnotSettings = {
  rewindMs: 5_000,
  drainIdleMs: 1_000,
  pageFrames: 100,
  pingMs: 30_000,
  readDeadlineMs: 90_000,
  dialTimeoutMs: 10_000,
  redialMinMs: 1_000,
  redialMaxMs: 30_000,
  saveMs: 3_000,
  maxWaiting: 300,
  maxWaitingBytes: 16 * 1024 * 1024,
};

export type KnotSource = {
  /**
   * `knot/<host>` of every knot that a served repo lives on. Also tells the readers what is served now.
   * @param told default true; false: nobody says that it changed, so an answer of the last half minute will do
   */
  wanted(told?: boolean): Promise<string[]>;
  /** Reads `knot/<host>` under this lease. */
  start(source: string, lease: Lease): Running;
  isKnot(source: string): boolean;
  /** of the knots that this process reads, by name */
  stats(): ReadonlyMap<string, Readonly<KnotStats>>;
};

/** Tangled's knots as sources for the lease manager; wake it on the channel `repos`. */
export function knotSource(options: {
  sql: Sql;
  /** plain `ws://` */
  dev: boolean;
  log: Logger;
  /** takes the frames that are none */
  refused: Refused;
  settings?: Partial<KnotSettings> | undefined;
  /** how names become addresses; default the operating system's way */
  resolve?: GuardOptions['resolve'];
}): KnotSource {
  const { sql, dev, refused } = options;
  const settings = { ...knotDefaults, ...options.settings };
  const readers = new Map<string, { reader: KnotReader; stats: KnotStats }>();
  const warned = new Set<string>();
  let wanted = new Map<string, WantedKnot>();
  let named: string | undefined;
  let askedAt = Number.NEGATIVE_INFINITY;

  const isUsable = ({ knot }: WantedKnot): boolean => {
    const problem = knotNameProblem(knot);
    if (problem !== undefined && !warned.has(knot)) options.log.warn({ knot }, `cannot read a knot: ${problem}`);
    if (problem !== undefined) warned.add(knot);
    return problem === undefined;
  };

  return {
    async wanted(told = true) {
      const now = performance.now();
      if (!told && now - askedAt < untoldMs) return [...wanted.keys()].map((knot) => `${prefix}${knot}`);
      const knots = (await wantedKnots(sql)).filter(isUsable);
      const names = JSON.stringify(knots.map(({ knot }) => knot));
      wanted = new Map(knots.map((knot) => [knot.knot, knot]));
      if (names !== named) {
        for (const source of await forgetUnwantedKnots(sql)) options.log.info({ source }, 'its last repo is gone');
      }
      named = names;
      askedAt = now;
      for (const { reader } of readers.values()) reader.refresh();
      return knots.map(({ knot }) => `${prefix}${knot}`);
    },

    start(source, lease) {
      const knot = source.slice(prefix.length);
      const log = options.log.child({ knot, epoch: `${lease.epoch}` });
      const stats: KnotStats = {
        connected: false,
        dials: 0,
        frames: 0,
        bad: 0,
        triggers: 0,
        quarantined: 0,
        lastFrameAt: undefined,
      };
      const mine = () => wanted.get(knot);
      // Records may name any host, and strangers write them; who pins has access to this machine anyway.
      const guard = addressGuard({ dev, vouched: () => mine()?.pinned ?? false, resolve: options.resolve });
      const reader = knotReader({ sql, knot, source, lease, dev, guard, log, refused, settings, wanted: mine, stats });
      readers.set(knot, { reader, stats });
      const unwatch = watchStream(source, stats);
      return {
        async stop() {
          await reader.stop();
          unwatch();
          if (readers.get(knot)?.reader === reader) readers.delete(knot);
        },
      };
    },

    isKnot: (source) => source.startsWith(prefix),
    stats: () => new Map([...readers].map(([knot, { stats }]) => [knot, stats])),
  };
}
