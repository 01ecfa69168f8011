import type { Sql } from './db.ts';

export type IncomingTrigger = {
  nsid: string;
  rkey: string;
  /** of dispatch's work: `shareOfPipeline(knot, rkey)` */
  share: number;
  /** when it happened, by the forge's clock */
  eventAt?: Date | undefined;
  /** the event, as JSON text */
  body?: string | undefined;
  /** default `new`; `early`: from before the repo was chosen, kept as a key and never started */
  state?: 'new' | 'early' | undefined;
  reason?: string | undefined;
};

export type Intake = {
  knot: string;
  source: string;
  /** of the lease under which this is written */
  epoch: bigint;
  triggers: readonly IncomingTrigger[];
  /** where the cursor goes, in nanoseconds; undefined: stays */
  position?: bigint | undefined;
};

export type IntakeResult = {
  /** false: another process has the source now, and nothing was written */
  mine: boolean;
  /** false: the cursor was forgotten meanwhile */
  moved: boolean;
  /** how many triggers were not there before */
  inserted: number;
};

/**
 * Stores triggers and moves the cursor in one statement, and wakes dispatch if there is something for it to do.
 * A trigger that is there already stays as it is; only an `early` one that counts by now becomes new.
 * Throws when PostgreSQL refuses a row (`isRefusal`); then nothing was written.
 */
export async function intake(sql: Sql, { knot, source, epoch, triggers, position }: Intake): Promise<IntakeResult> {
  // one statement cannot touch the same row twice
  const rows = [...new Map(triggers.toReversed().map((row) => [`${row.nsid} ${row.rkey}`, row])).values()].toReversed();
  const column = (of: (row: IncomingTrigger) => string | undefined): (string | null)[] =>
    rows.map((row) => of(row) ?? null);

  const [result] = await sql<IntakeResult[]>`
    with mine as materialized (
      -- a process that was frozen and wakes up finds another epoch here, and changes nothing
      select 1 from leases where source = ${source} and epoch = ${epoch} for share
    ),
    added as (
      insert into triggers (knot, nsid, rkey, share, event_at, body, state, reason, settled_at)
      select ${knot}, r.nsid, r.rkey, r.share::smallint, r.event_at::timestamptz, r.body::jsonb, r.state, r.reason,
        case when r.state = 'early' then clock_timestamp() end
      from mine, unnest(
        ${column((row) => row.nsid)}::text[],
        ${column((row) => row.rkey)}::text[],
        ${column((row) => `${row.share}`)}::text[],
        ${column((row) => row.eventAt?.toISOString())}::text[],
        ${column((row) => (row.state === 'early' ? undefined : row.body))}::text[],
        ${column((row) => row.state ?? 'new')}::text[],
        ${column((row) => row.reason)}::text[]
      ) with ordinality as r (nsid, rkey, share, event_at, body, state, reason, n)
      order by r.n
      on conflict (knot, nsid, rkey) do update
        set state = 'new', reason = null, body = excluded.body, due_at = clock_timestamp(), settled_at = null
        where triggers.state = 'early' and excluded.state = 'new'
      returning share, state
    ),
    moved as (
      update cursors set position = greatest(position, ${position ?? null}::bigint), updated_at = now()
      from mine where cursors.source = ${source}
      returning 1
    ),
    told as (select pg_notify('inbox', share || ' triggers') from (select distinct share from added where state = 'new') s)
    select
      exists (select from mine) as mine,
      exists (select from moved) as moved,
      (select count(*)::int from added) as inserted,
      (select count(*) from told) as told`;
  return { mine: result?.mine ?? false, moved: result?.moved ?? false, inserted: result?.inserted ?? 0 };
}
