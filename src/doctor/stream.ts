import type { Guard } from '../clients/guard.ts';
import { dial } from '../ingest/stream-socket.ts';

/** What a stream sends to somebody who comes with our cursor. */
export interface Glance {
  /** When the first event happened that our readers have not stored, ns since 1970; undefined when there is none. */
  unread: bigint | undefined;
}

export interface GlanceOptions {
  /** When what a frame tells happened, ns; undefined for one that tells nothing. */
  timeOf(bytes: Buffer): bigint | undefined;
  /** Everything up to here is stored; undefined: only the dial counts. */
  position: bigint | undefined;
  /** How far its clock is ahead of ours, ms. */
  skewMs: number;
  /** How long to wait for frames. */
  listenMs: number;
  signal: AbortSignal;
  guard?: Guard | undefined;
}

/** A stream repeats its last event, and its clock is not quite ours. */
const toleranceMs = 3_000;
const togetherMs = 200;

const nanos = (ms: number): bigint => BigInt(Math.floor(ms)) * 1_000_000n;

/** Dials as our readers do, listens for a moment, and leaves. Rejects when the dial is refused. */
export async function glance(url: string, options: GlanceOptions): Promise<Glance> {
  const { timeOf, position, skewMs, listenMs, signal, guard } = options;
  const latest = nanos(Date.now() + skewMs + toleranceMs);
  const stored = (position ?? latest) + nanos(toleranceMs + Math.max(0, skewMs));
  const over = Promise.withResolvers<void>();
  let unread: bigint | undefined;
  const socket = await dial(url, {
    onFrame(bytes) {
      const time = timeOf(bytes);
      // An event of the future moves no cursor.
      if (time === undefined || time <= stored || time >= latest) return;
      // Those that come together are not always in order.
      if (unread === undefined) setTimeout(over.resolve, togetherMs);
      if (unread === undefined || time < unread) unread = time;
    },
    dialTimeoutMs: listenMs * 10,
    pingMs: 30_000,
    readDeadlineMs: 90_000,
    signal,
    guard,
  });
  const timer = setTimeout(over.resolve, listenMs);
  try {
    if (position === undefined) return { unread: undefined };
    socket.resume();
    await Promise.race([over.promise, socket.closed]);
    return { unread };
  } finally {
    clearTimeout(timer);
    socket.close('that was all');
  }
}

/** How long our readers are behind, ms: since when something waits that they have not stored. */
export const behindMs = ({ unread }: Glance, skewMs: number): number =>
  unread === undefined ? 0 : Math.max(0, Date.now() + skewMs - Number(unread / 1_000_000n));
