import type { AskedRepo, Facts } from '../pipeline/access.ts';
import type { Sql } from './db.ts';

/** What is known of a repository, with what may explain a no. */
export async function factsOf(sql: Sql, { knot, did, name, repoDid }: AskedRepo): Promise<Facts> {
  const [row] = await sql<{ facts: Facts; others: string[] }[]>`
    select ${askedFacts(sql)} as facts, array(
      select value ->> 'name' from spindle, (
        select value from records
        where records.did = asked.did and collection = 'sh.tangled.repo' and value is not null
        order by value ->> 'name' limit 1000
      ) mine
      where value ->> 'knot' = lower(asked.knot) and value ->> 'spindle' = spindle.host
      order by 1 limit 5
    ) as others
    from (select ${knot}::text as knot, ${did}::text as did, ${name}::text as name, ${repoDid ?? null}::text as repo_did) asked`;
  if (!row) throw new Error('the database answered a question about a repository with no row');
  return { ...row.facts, others: row.others };
}

/**
 * The facts as one column, for a query that has a relation `asked (knot, did, name, repo_did)`: of each repository that
 * is asked about, a few rows of indexes.
 */
export const askedFacts = (sql: Sql) => sql`
  json_build_object(
    'host', (select host from spindle),
    'pinned', (
      select ${millis(sql, sql`min(chosen_at)`)} from repos
      where source = 'pin' and repos.knot = lower(asked.knot) and repos.did = asked.did and repos.name = asked.name
    ),
    'publisher', (
      select case when spindle.owner = asked.did then 'owner' when ${memberSince(sql)} is not null then 'member' end from spindle
    ),
    'inactive', (select coalesce(status, 'inactive') from accounts where accounts.did = asked.did and not active),
    'records', coalesce((
      select json_agg(json_build_object(
        'rkey', found.rkey, 'name', found.value ->> 'name', 'knot', found.value ->> 'knot',
        'spindle', found.value ->> 'spindle', 'repoDid', found.value ->> 'repoDid',
        'since', ${millis(
          sql,
          sql`greatest(found.since, spindle.since, (select active_since from accounts where accounts.did = asked.did),
            case when spindle.owner <> asked.did then ${memberSince(sql)} end)`,
        )}
      ) order by found.rkey)
      from spindle, (
        select rkey, value, since from records
        where did = asked.did and collection = 'sh.tangled.repo' and value is not null and value ->> 'name' = asked.name
        union
        select rkey, value, since from records
        where did = asked.did and collection = 'sh.tangled.repo' and value is not null and rkey = asked.name
        union
        select rkey, value, since from records
        where did = asked.did and collection = 'sh.tangled.repo' and value is not null and value ->> 'repoDid' = asked.repo_did
      ) found
    ), '[]')
  )`;

/** The earliest of the owner's records that make the publisher a member of this host, in a query of `spindle` and `asked`. */
const memberSince = (sql: Sql) => sql`(
  select min(since) from records
  where collection = 'sh.tangled.spindle.member' and did = spindle.owner
    and value ->> 'instance' = spindle.host and value ->> 'subject' = asked.did
)`;

const millis = (sql: Sql, time: ReturnType<Sql>) => sql`floor(extract(epoch from ${time}) * 1000)`;
