import type { Sql } from './db.ts';

export interface Retention {
  days: number;
  /** What all logs together may take, compressed. */
  spaceBytes: number;
  /** How many logs one statement removes at most. */
  batch?: number;
  /** Called after each statement. */
  onBatch?: () => void;
}

/**
 * Removes logs that are too old, and the oldest until the others have room. Their rows stay. Returns how many. Ends after
 * a batch when it is aborted.
 */
export async function removeLogs(
  sql: Sql,
  { days, spaceBytes, batch = 20, onBatch = () => {} }: Retention,
  signal?: AbortSignal,
): Promise<number> {
  let removed = 0;
  for (let last = batch; last === batch && !signal?.aborted; removed += last) {
    const rows = await sql`
      with kept as (
        select pipeline, job, attempt, created_at, sum(stored) over (order by created_at desc, pipeline, job, attempt) as taken
        from logs where removed_at is null
      ), leaving as materialized (
        select pipeline, job, attempt from kept
        where created_at < clock_timestamp() - ${days} * interval '1 day' or taken > ${spaceBytes}
        order by created_at limit ${batch}
      ), steps as (
        delete from log_steps using leaving
        where log_steps.pipeline = leaving.pipeline and log_steps.job = leaving.job and log_steps.attempt = leaving.attempt
      )
      update logs set removed_at = clock_timestamp() from leaving
      where logs.pipeline = leaving.pipeline and logs.job = leaving.job and logs.attempt = leaving.attempt
        and removed_at is null
      returning 1`;
    last = rows.length;
    onBatch();
  }
  await sweep(sql, { batch, onBatch }, signal);
  return removed;
}

/*
 * Entries go only after the removal was committed: then nobody adds any more, and none that came in at the last moment
 * is missed. `stored` says that there is something left to do, also after a crash.
 */
async function sweep(
  sql: Sql,
  { batch, onBatch }: { batch: number; onBatch: () => void },
  signal: AbortSignal | undefined,
): Promise<void> {
  for (let last = batch; last === batch && !signal?.aborted;) {
    const rows = await sql`
      with leaving as materialized (
        select pipeline, job, attempt from logs where removed_at is not null and stored > 0 order by removed_at limit ${batch}
      ), chunks as (
        delete from log_chunks using leaving
        where log_chunks.pipeline = leaving.pipeline and log_chunks.job = leaving.job and log_chunks.attempt = leaving.attempt
      )
      update logs set stored = 0 from leaving
      where logs.pipeline = leaving.pipeline and logs.job = leaving.job and logs.attempt = leaving.attempt
      returning 1`;
    last = rows.length;
    onBatch();
  }
}
