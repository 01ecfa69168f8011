import type { Sql } from './db.ts';

export type Cursor = {
  /** nanoseconds since 1970: everything up to here is stored */
  position: bigint | undefined;
  /** how far back this source was read on purpose */
  since: Date | undefined;
};

/** What time it is for the database, in ms since 1970. */
export async function readTime(sql: Sql): Promise<number> {
  const [row] = await sql<[{ ms: number }]>`select (extract(epoch from clock_timestamp()) * 1000)::float8 as ms`;
  return row.ms;
}

/** Undefined when this source was never read, or was forgotten. */
export async function readCursor(sql: Sql, source: string): Promise<Cursor | undefined> {
  const [row] = await sql<{ position: bigint | null; since: Date | null }[]>`
    select position, since from cursors where source = ${source}`;
  return row && { position: row.position ?? undefined, since: row.since ?? undefined };
}

/**
 * Puts a cursor where the holder of the lease says, also backwards: how a source begins, and how it is read again.
 * False when the lease has another epoch by now; then nothing was changed.
 */
export async function placeCursor(
  sql: Sql,
  { source, epoch, position, since }: { source: string; epoch: bigint; position: bigint; since?: Date | undefined },
): Promise<boolean> {
  const rows = await sql`
    with mine as materialized (select 1 from leases where source = ${source} and epoch = ${epoch} for share)
    insert into cursors (source, position, since)
    select ${source}, ${position}::bigint, ${since ?? null}::timestamptz from mine
    on conflict (source) do update
      set position = excluded.position, since = excluded.since, updated_at = now()
    returning 1`;
  return rows.length > 0;
}

/**
 * Moves a cursor on, never back; one that was forgotten stays so.
 * False when the lease has another epoch by now; then nothing was changed.
 */
export async function moveCursor(
  sql: Sql,
  { source, epoch, position }: { source: string; epoch: bigint; position: bigint },
): Promise<boolean> {
  const [row] = await sql<{ mine: boolean }[]>`
    with mine as materialized (select 1 from leases where source = ${source} and epoch = ${epoch} for share),
    moved as (
      update cursors set position = greatest(position, ${position}), updated_at = now()
      from mine where source = ${source}
    )
    select exists (select from mine) as mine`;
  return row?.mine ?? false;
}

/** Forgets the cursors of all knots that no served repo lives on, and how they did: one that comes back starts anew. */
export async function forgetUnwantedKnots(sql: Sql): Promise<string[]> {
  const rows = await sql<{ source: string }[]>`
    with told as (
      delete from sources where source like 'knot/%' and substr(source, 6) not in (select knot from served)
    )
    delete from cursors
    where source like 'knot/%' and substr(source, 6) not in (select knot from served)
    returning source`;
  return rows.map((row) => row.source);
}
