import type { Sql } from './db.ts';

/** One thing that happened, as the database remembers it. */
export interface AuditRow {
  at: Date;
  /** `pipeline/<knot>/<rkey>` */
  pipeline: string;
  type: 'trigger' | 'pipeline' | 'command' | 'attempt' | 'build' | 'status' | 'reopening';
  about: Record<string, unknown>;
}

export interface AuditFilter {
  since?: Date | undefined;
  pipeline?: string | undefined;
}

/**
 * All that happened, in the order of its time, a few hundred rows at a time from one snapshot, so that nothing is
 * missing or double however long the reader takes.
 */
export async function walkAudit(
  sql: Sql,
  filter: AuditFilter,
  onRows: (rows: AuditRow[]) => Promise<unknown> | void,
  pageRows = 500,
): Promise<void> {
  await sql.begin('isolation level repeatable read read only', async (tx) => {
    await tx`set local idle_in_transaction_session_timeout = 0`;
    // It sorts first, and that takes as long as it takes.
    await tx`set local statement_timeout = 0`;
    await tx`set local timezone to 'UTC'`;
    // Without it the database plans for the first rows, which is slower for all of them.
    await tx`set local cursor_tuple_fraction = 1`;
    await tx`declare audit no scroll cursor for ${everything(sql, filter)}`;
    for (;;) {
      const rows = await tx<AuditRow[]>`fetch ${tx.unsafe(`${pageRows}`)} from audit`;
      if (rows.length > 0) await onRows(rows);
      if (rows.length < pageRows) return;
    }
  });
}

/** The last column but one keeps what happened at one moment in the order in which one led to the other. */
function everything(sql: Sql, { since, pipeline }: AuditFilter) {
  const knot = pipeline?.split('/')[1] ?? '';
  const rkey = pipeline?.split('/')[2] ?? '';
  const from = (column: string) => (since ? sql`and ${sql.unsafe(column)} >= ${since}::timestamptz` : sql``);
  const of = (column: string) => (pipeline === undefined ? sql`` : sql`and ${sql.unsafe(column)} = ${pipeline}`);
  return sql`
    select at, pipeline, type, about from (
      select received_at as at, 'pipeline/' || knot || '/' || rkey as pipeline, 'trigger' as type, 0 as place, id as n,
        json_build_object('nsid', nsid, 'repo', repo, 'eventAt', event_at, 'state', state, 'reason', reason,
          'tries', tries, 'holdUntil', hold_until, 'settledAt', settled_at) as about
      from triggers
      where true ${from('received_at')} ${pipeline === undefined ? sql`` : sql`and knot = ${knot} and rkey = ${rkey}`}
      union all
      select created_at, id, 'pipeline', 1, 0,
        json_build_object('did', did, 'repo', repo, 'kind', kind, 'branch', branch, 'commit', commit, 'title', title,
          'jobs', (select coalesce(json_agg(json_build_object('name', name, 'provider', provider, 'refusal', refusal)
            order by position), '[]') from jobs where jobs.pipeline = pipelines.id))
      from pipelines where true ${from('created_at')} ${of('id')}
      union all
      select received_at, pipeline, 'command', 2, seq,
        json_build_object('id', id, 'kind', kind, 'job', job, 'by', by, 'state', state, 'result', result,
          'settledAt', settled_at)
      from commands where kind <> 'watch' ${from('received_at')} ${of('pipeline')}
      union all
      select created_at, pipeline, 'reopening', 3, epoch, json_build_object('epoch', epoch, 'because', because)
      from reopenings where true ${from('created_at')} ${of('pipeline')}
      union all
      select created_at, pipeline, 'attempt', 4, attempt,
        json_build_object('job', job, 'attempt', attempt, 'runKey', run_key, 'command', command,
          'adoptedFrom', adopted_from, 'build', build, 'boundAt', bound_at, 'cancelAskedAt', cancel_asked_at,
          'learnt', learnt, 'endedAt', ended_at)
      from attempts where true ${from('created_at')} ${of('pipeline')}
      union all
      select posted_at, pipeline, 'build', 5, id,
        json_build_object('job', job, 'attempt', attempt, 'provider', provider, 'outcome', outcome, 'build', build,
          'number', number, 'url', url, 'extraSince', extra_since, 'cancelledAt', cancelled_at)
      from builds where true ${from('posted_at')} ${of('pipeline')}
      union all
      select created_at, pipeline, 'status', 6, id,
        json_build_object('job', job, 'attempt', attempt, 'epoch', epoch, 'status', status, 'error', error,
          'exitCode', exit_code, 'rkey', rkey, 'state', state, 'resend', resend)
      from statuses where true ${from('created_at')} ${of('pipeline')}
    ) everything
    order by at, pipeline, place, n`;
}
