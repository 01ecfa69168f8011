import { shareOfPipelineId } from '../pipeline/share.ts';
import type { Sql } from './db.ts';

export interface Watcher {
  pipeline: string;
  job: string;
  /** Somebody reads for so long from now; ask again before it is over. */
  forMs: number;
}

/** All readers of a job's log are one watcher: a command that is wanted until it expires. */
const watcherId = (pipeline: string, job: string): string => `watch/${pipeline}/${job}`;

/**
 * Says that somebody reads the log of a job. The workflow is told when nobody did before, and not again while the
 * watcher lives. True when it is told now.
 */
export async function watchLog(sql: Sql, { pipeline, job, forMs }: Watcher): Promise<boolean> {
  const share = shareOfPipelineId(pipeline);
  const until = sql`clock_timestamp() + ${forMs} * interval '1 millisecond'`;
  // The condition reads the newest row under its lock, so of readers who come together one wakes dispatch.
  const [row] = await sql<{ told: boolean }[]>`
    with asked as (
      insert into commands (id, share, pipeline, kind, job, by, expires_at)
      values (${watcherId(pipeline, job)}, ${share}, ${pipeline}, 'watch', ${job}, 'a reader', ${until})
      on conflict (id) do update
      set state = 'new', due_at = clock_timestamp(), tries = 0, result = null, settled_at = null,
        received_at = clock_timestamp(), expires_at = excluded.expires_at
      where commands.expires_at < clock_timestamp()
      returning share
    ), kept as (
      update commands set expires_at = greatest(expires_at, ${until})
      where id = ${watcherId(pipeline, job)} and not exists (select from asked)
    )
    select true as told, pg_notify('inbox', share || ' commands') from asked`;
  return row?.told ?? false;
}

/** Whether somebody reads the log of a job now. */
export async function isWatched(sql: Sql, pipeline: string, job: string): Promise<boolean> {
  const rows = await sql`
    select from commands where id = ${watcherId(pipeline, job)} and expires_at > clock_timestamp()`;
  return rows.length > 0;
}
