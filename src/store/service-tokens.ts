import { shareOfPipelineId } from '../pipeline/share.ts';
import type { NewCommand } from './commands.ts';
import type { Sql } from './db.ts';
import { jsonText } from './json.ts';

/** A verified token of service auth, as it is remembered so that it counts once. */
export interface UsedToken {
  /** DID */
  issuer: string;
  /** of the token among those of its issuer */
  id: string;
  expiresAt: Date;
}

/** Longer than a token is taken after its time, and than the clocks of our processes differ. */
const keepAfter = '10 minutes';

/**
 * Writes down what the bearer of a token asks for. Token and commands are one statement: after a crash both are there,
 * or neither, and then the token still counts. Tokens that have expired go with it.
 * @returns false when the token was used before, and nothing was written
 */
export async function spendToken(sql: Sql, token: UsedToken, commands: readonly NewCommand[]): Promise<boolean> {
  const rows = commands.map(({ id, pipeline, kind, job, by }, n) => {
    return { id, pipeline, kind, job: job ?? null, by, share: shareOfPipelineId(pipeline), n };
  });
  const [row] = await sql<[{ fresh: boolean }]>`
    with gone as (
      delete from service_tokens where (issuer, id) in (
        select issuer, id from service_tokens where expires_at < clock_timestamp() - ${keepAfter}::text::interval
        limit 100 for update skip locked
      )
    ), used as (
      insert into service_tokens (issuer, id, expires_at)
      values (${token.issuer}, ${token.id}, ${token.expiresAt}) on conflict do nothing returning 1
    ), asked as (
      insert into commands (id, share, pipeline, kind, job, by)
      select id, share, pipeline, kind, job, by from used, jsonb_to_recordset(${jsonText(rows)}::text::jsonb)
        as asked(id text, share smallint, pipeline text, kind text, job text, by text, n int)
      order by n on conflict do nothing returning share
    ), told as (
      select pg_notify('inbox', share || ' commands') from (select distinct share from asked) shares
    )
    select exists (select from used) as fresh, (select count(*) from told) as told`;
  return row.fresh;
}
