import { statfs } from 'node:fs/promises';
import { boundedNames } from './bounded.ts';
import { counter, gauge } from './registry.ts';

/** What a reader of a stream counts for itself; read at a scrape, so that a frame costs nothing more. */
export interface StreamCounts {
  readonly connected: boolean;
  readonly dials: number;
  readonly frames: number;
  readonly bad: number;
  readonly quarantined: number;
}

/** Sources that are told apart; the rest is `other`. */
const mostSources = 50;

const nameOf = boundedNames(mostSources);
const streams = new Set<{ source: string; counts: StreamCounts; given: Counted }>();
const leases = new Set<() => readonly string[]>();

type Counted = Record<'dials' | 'frames' | 'bad' | 'quarantined', number>;

const totals = {
  dials: counter('whorl_stream_dials_total', 'Connections to knots and jetstreams that were tried.', ['source']),
  frames: counter('whorl_stream_frames_total', 'Frames that knots and jetstreams sent.', ['source']),
  bad: counter('whorl_stream_bad_frames_total', 'Frames that were none, and were stepped over.', ['source']),
  quarantined: counter('whorl_stream_quarantined_total', 'Events that PostgreSQL refused.', ['source']),
};
const kinds = Object.keys(totals) as (keyof Counted)[];

gauge('whorl_stream_connected', 'Streams that this process reads: 1 while connected.', ['source'], function () {
  this.reset();
  for (const { source, counts } of streams) {
    if (nameOf(source) === 'other') continue;
    this.set({ source }, counts.connected ? 1 : 0);
  }
});

gauge('whorl_leases_held', 'Sources that this process holds a lease of.', ['kind'], function () {
  this.reset();
  for (const held of leases) for (const source of held()) this.inc({ kind: source.split('/', 1)[0] ?? '' });
});

/** Counts what came since the last scrape. */
function settle(stream: { source: string; counts: StreamCounts; given: Counted }): void {
  for (const kind of kinds) {
    const news = stream.counts[kind] - stream.given[kind];
    stream.given[kind] = stream.counts[kind];
    totals[kind].inc({ source: nameOf(stream.source) }, Math.max(0, news));
  }
}

/** Brings the counters of streams up to date. Call it before a scrape. */
export function settleStreams(): void {
  for (const stream of streams) settle(stream);
}

/** Shows a stream until the returned function is called. */
export function watchStream(source: string, counts: StreamCounts): () => void {
  const stream = { source, counts, given: { dials: 0, frames: 0, bad: 0, quarantined: 0 } };
  streams.add(stream);
  return () => {
    if (streams.delete(stream)) settle(stream);
  };
}

/** Shows which sources are held, until the returned function is called. */
export function watchLeases(held: () => readonly string[]): () => void {
  leases.add(held);
  return () => leases.delete(held);
}

/** Where the embedded services keep their data. */
let dataDir: string | undefined;

const diskSize = gauge('whorl_disk_size_bytes', 'Size of the disk of the embedded services.');
const diskFree = gauge('whorl_disk_free_bytes', 'What is free of it.');

/** Shows how full the disk of this folder is. */
export function watchDisk(dir: string): void {
  dataDir = dir;
}

/** Brings the disk's gauges up to date. Call it before a scrape. */
export async function lookAtDisk(): Promise<void> {
  const disk = dataDir === undefined ? undefined : await statfs(dataDir).catch(() => undefined);
  if (!disk) {
    diskSize.remove();
    diskFree.remove();
    return;
  }
  diskSize.set(disk.blocks * disk.bsize);
  diskFree.set(disk.bavail * disk.bsize);
}
