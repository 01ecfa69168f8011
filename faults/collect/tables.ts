import { unpackEntries } from '../../src/store/log-chunks.ts';
import type { Sql } from '../../src/store/db.ts';
import { isUnbuilt } from '../check/reasons.ts';
import type { Tables } from '../evidence.ts';

/** Reads what the checker compares. Times as ms, and what has 64 bits as text. */
export async function readTables(sql: Sql): Promise<Tables> {
  const ms = (column: string) => sql`(extract(epoch from ${sql(column)}) * 1000)::float8`;
  const [triggers, pipelines, jobs, attempts, builds, statuses, deliveries, commands, reopenings, quarantine, logs] =
    await Promise.all([
      sql<Tables['triggers']>`
        select knot, nsid, rkey, state, reason, ${ms('received_at')} as received_at, ${ms('settled_at')} as settled_at,
          ${ms('hold_until')} as hold_until, tries, body is not null as has_body
        from triggers order by id`,
      sql<Tables['pipelines']>`
        select id, knot, rkey, did, repo, ${ms('created_at')} as created_at from pipelines order by created_at, id`,
      sql<Tables['jobs']>`
        select pipeline, name, provider, refusal, attempt, epoch, rank, status, error, ${ms('shown_at')} as shown_at,
          state ->> 'note' as note
        from jobs order by pipeline, position`,
      sql<Tables['attempts']>`
        select pipeline, job, attempt, run_key, command, posts, adopted_from, build, ${ms('bound_at')} as bound_at,
          ${ms('cancel_asked_at')} as cancel_asked_at
        from attempts order by pipeline, job, attempt`,
      sql<Tables['builds']>`
        select pipeline, job, attempt, provider, nonce, ${ms('posted_at')} as posted_at, outcome, build,
          number::text as number, ${ms('extra_since')} as extra_since, ${ms('cancelled_at')} as cancelled_at,
          case when provider = 'fake' then data end as data
        from builds order by id`,
      sql<Tables['statuses']>`
        select pipeline, job, attempt, epoch, rank, status, error, rkey, ${ms('created_at')} as created_at,
          cursor::text as cursor, state, resend
        from statuses order by id`,
      sql<Tables['deliveries']>`
        select key, event, build, state, reason, ${ms('received_at')} as received_at from deliveries order by id`,
      sql<Tables['commands']>`
        select id, pipeline, kind, job, state, result, ${ms('received_at')} as received_at,
          ${ms('settled_at')} as settled_at
        from commands order by seq`,
      sql<Tables['reopenings']>`select pipeline, epoch, because, token from reopenings order by pipeline, epoch`,
      sql<Tables['quarantine']>`select source, reason from quarantine order by id`,
      sql<Tables['logs']>`
        select pipeline, job, attempt, entries::text as entries, ${ms('removed_at')} as removed_at, null as text
        from logs order by pipeline, job, attempt`,
    ]);
  const tables = {
    triggers,
    pipelines,
    jobs,
    attempts,
    builds,
    statuses,
    deliveries,
    commands,
    reopenings,
    quarantine,
  };
  // Plain arrays: what postgres.js gives carries the statement with it.
  const plain = Object.fromEntries(Object.entries(tables).map(([name, rows]) => [name, [...rows]]));
  const found = { ...plain, logs: [...logs] } as Tables;
  await readReasons(sql, found);
  return found;
}

/** The logs of jobs that never had a build hold nothing but reasons, so they are short. */
async function readReasons(sql: Sql, { jobs, attempts, logs }: Tables): Promise<void> {
  const of = Map.groupBy(attempts, ({ pipeline, job }) => `${pipeline} ${job}`);
  const wanted = new Map(
    jobs
      .filter((row) => isUnbuilt({ row, attempts: of.get(`${row.pipeline} ${row.name}`) ?? [] }))
      .map((row) => [`${row.pipeline} ${row.name} ${row.attempt}`, row]),
  );
  for (const log of logs) {
    if (!wanted.has(`${log.pipeline} ${log.job} ${log.attempt}`)) continue;
    const chunks = await sql<{ data: Uint8Array }[]>`
      select data from log_chunks
      where pipeline = ${log.pipeline} and job = ${log.job} and attempt = ${log.attempt} order by n`;
    const entries = await Promise.all(chunks.map(({ data }) => unpackEntries(data)));
    log.text = entries.flat().map(contentOf).join('\n');
  }
}

function contentOf(entry: string): string {
  const parsed: unknown = JSON.parse(entry);
  const content = typeof parsed === 'object' && parsed !== null && 'content' in parsed ? parsed.content : '';
  return typeof content === 'string' ? content : '';
}
