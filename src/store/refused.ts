import type { Logger } from 'pino';
import type { Sql } from './db.ts';
import { plainText } from './json.ts';

/** Something that a source sent and that was stepped over. */
export interface RefusedFrame {
  source: string;
  reason: string;
  /** the beginning of it */
  bytes: Uint8Array;
  receivedAt: Date;
}

/** Takes what is stepped over. `about`: what the log line says besides, such as did, collection, operation and rkey. */
export interface Refused {
  add(source: string, bytes: Uint8Array, reason: string, about?: Record<string, unknown>): void;
  /** Keeps what waits, if that works at once. */
  close(): Promise<void>;
}

export interface RefusedOptions {
  sql: Sql;
  log: Logger;
  /** the shortest pause between two writes; default 1 s */
  restMs?: number;
}

/** frames kept of each source, and bytes of each frame */
const keptFrames = 100;
const keptBytes = 64 * 1024;
const keptReason = 1_000;
/** what may wait in memory, of all sources together */
const waitingBytes = 16 * 1024 * 1024;
const minute = 60_000;

/**
 * Says once per source and minute that frames are stepped over, and keeps the last hundred of each source for people to
 * read. They are in memory first and written now and then, so that no flood of them, and no database that is away,
 * holds a stream up; what cannot be written is given up.
 */
export function refusedFrames({ sql, log, restMs = 1_000 }: RefusedOptions): Refused {
  const waiting = new Map<string, RefusedFrame[]>();
  let bytesWaiting = 0;
  const told = new Map<string, { at: number; silent: number }>();
  let timer: NodeJS.Timeout | undefined;
  let writing: Promise<void> | undefined;
  let closed = false;

  const write = async (): Promise<void> => {
    const frames = [...waiting.values()].flat();
    waiting.clear();
    bytesWaiting = 0;
    if (frames.length === 0) return;
    await keepRefused(sql, frames).catch((error: unknown) => {
      log.debug({ err: error, frames: frames.length }, 'refused frames could not be kept');
    });
  };

  const writeSoon = (): void => {
    timer ??= setTimeout(() => {
      timer = undefined;
      if (writing) return writeSoon();
      writing = write().finally(() => (writing = undefined));
    }, restMs);
  };

  const tell = (source: string, reason: string, about: Record<string, unknown>): void => {
    const now = performance.now();
    const last = told.get(source);
    if (last && now - last.at < minute) {
      last.silent++;
      log.debug({ source, ...about, reason }, 'stepped over');
      return;
    }
    told.set(source, { at: now, silent: 0 });
    const more = last?.silent ? { more: last.silent } : {};
    log.warn({ source, ...about, ...more, reason }, 'stepped over what is wrong; `whorl frames` shows it');
  };

  return {
    add(source, bytes, reason, about = {}) {
      tell(source, reason, about);
      if (closed) return;
      const frames = waiting.get(source) ?? [];
      // a copy: what is cut from a large buffer would hold all of it
      const kept = Uint8Array.from(bytes.subarray(0, keptBytes));
      if (frames.length === keptFrames) bytesWaiting -= frames.shift()?.bytes.length ?? 0;
      if (bytesWaiting + kept.length > waitingBytes) return;
      bytesWaiting += kept.length;
      frames.push({ source, bytes: kept, reason: reason.slice(0, keptReason), receivedAt: new Date() });
      waiting.set(source, frames);
      writeSoon();
    },

    async close() {
      closed = true;
      clearTimeout(timer);
      await writing;
      await write();
    },
  };
}

/** Keeps frames, each once as long as it is there, and of each source the last hundred. */
export async function keepRefused(sql: Sql, frames: readonly RefusedFrame[]): Promise<void> {
  await sql`
    with given as materialized (
      select * from unnest(
        ${frames.map(({ source }) => source)}::text[],
        ${frames.map(({ reason }) => plainText(reason))}::text[],
        ${frames.map(({ bytes }) => Buffer.from(bytes).toString('base64'))}::text[],
        ${frames.map(({ receivedAt }) => receivedAt.toISOString())}::text[]
      ) with ordinality as g (source, reason, bytes, received_at, n)
    ),
    fresh as materialized (
      -- a stream that starts a little earlier again brings the same ones again
      select distinct on (source, bytes) * from given
      where not exists (
        select from refused_frames kept where kept.source = given.source and kept.bytes = decode(given.bytes, 'base64')
      )
      order by source, bytes, n
    ),
    old as (
      delete from refused_frames where id in (
        select id from (
          select id, source, row_number() over (partition by source order by id desc) as place from refused_frames
          where source in (select source from fresh)
        ) ranked
        where place > ${keptFrames} - (select count(*) from fresh where fresh.source = ranked.source)
      )
    )
    insert into refused_frames (source, reason, bytes, received_at)
    select source, reason, decode(bytes, 'base64'), received_at::timestamptz from fresh order by n`;
}

/** What is kept of a source, or of all, the latest last. */
export async function listRefused(sql: Sql, source?: string): Promise<RefusedFrame[]> {
  return await sql<RefusedFrame[]>`
    select source, reason, bytes, received_at as "receivedAt" from refused_frames
    where ${source ?? null}::text is null or source = ${source ?? null} order by id`;
}
