import { relaxed, type Sql } from './db.ts';

/** How a stream that is read does. `connecting`: being dialled; `waiting`: between two tries. */
export type SourceState = 'connecting' | 'live' | 'waiting';

export interface SourceNews {
  source: string;
  /** of the lease under which it is read */
  epoch: bigint;
  state: SourceState;
  /** those that came since the last news */
  frames: number;
  /** our time of the last frame, and when that says that it happened, by its own clock */
  frameAt: Date | undefined;
  eventAt: Date | undefined;
  /** how far the source's clock is ahead of ours, ms; undefined when it does not say */
  skewMs: number | undefined;
  /** connections that failed since the last one that worked */
  tries: number;
  /** why the last connection ended, and when */
  error: { text: string; at: Date } | undefined;
}

/** Writes down how a source does. Nothing happens when the lease has another epoch by now. */
export async function tellSource(sql: Sql, news: SourceNews): Promise<void> {
  const { source, epoch, state, frames, frameAt, eventAt, skewMs, tries, error } = news;
  await sql`
    insert into sources as old (source, state, frames, frame_at, event_at, skew_ms, tries, error, error_at)
    select ${source}, ${state}, ${frames}, ${frameAt ?? null}::timestamptz, ${eventAt ?? null}::timestamptz,
      ${skewMs ?? null}::bigint, ${tries}, ${error?.text ?? null}, ${error?.at ?? null}::timestamptz
    from leases, ${relaxed(sql)} where source = ${source} and epoch = ${epoch}
    on conflict (source) do update set
      state = excluded.state,
      since = case when old.state = excluded.state then old.since else clock_timestamp() end,
      frames = old.frames + excluded.frames,
      frame_at = coalesce(excluded.frame_at, old.frame_at),
      event_at = coalesce(excluded.event_at, old.event_at),
      skew_ms = coalesce(excluded.skew_ms, old.skew_ms),
      tries = excluded.tries,
      error = coalesce(excluded.error, old.error),
      error_at = coalesce(excluded.error_at, old.error_at),
      updated_at = clock_timestamp()`;
}

export interface SourceRow {
  source: string;
  /** `unread`: no living process holds its lease. */
  state: SourceState | 'unread';
  /** since when it is so; null when it was never read */
  since: Date | null;
  /** the process that reads it */
  holder: string | null;
  /** how far its events are stored; null before it was read */
  cursor: Date | null;
  /** how long the last frame had taken to come, ms, with the difference of the clocks taken out */
  lagMs: number | null;
  frameAt: Date | null;
  frames: number;
  skewMs: number | null;
  tries: number;
  error: string | null;
  errorAt: Date | null;
}

/** Every stream that is to be read: the jetstream, if this spindle follows one, and the knots of what is served. */
export const listSources = (sql: Sql): Promise<SourceRow[]> =>
  sql<SourceRow[]>`
    with wanted as (
      select 'jetstream' as source where exists (select from spindle)
      union
      select 'knot/' || knot from served
    )
    select source,
      case when held.owner is null then 'unread' else coalesce(told.state, 'connecting') end as state,
      case when held.owner is null then greatest(told.updated_at, lease.expires_at) else told.since end as since,
      held.owner as holder,
      to_timestamp(cursors.position / 1000000000.0) as cursor,
      (extract(epoch from told.frame_at - told.event_at) * 1000 + coalesce(told.skew_ms, 0))::float8 as "lagMs",
      told.frame_at as "frameAt", coalesce(told.frames, 0)::float8 as frames, told.skew_ms::float8 as "skewMs",
      coalesce(told.tries, 0) as tries, told.error, told.error_at as "errorAt"
    from wanted
    left join cursors using (source)
    left join sources told using (source)
    left join (select source, nullif(expires_at, '-infinity') as expires_at from leases) lease using (source)
    left join (select source, owner from leases where expires_at > clock_timestamp()) held using (source)
    order by source`;
