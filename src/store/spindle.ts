import type { Sql } from './db.ts';

export interface Spindle {
  /** lower-cased, with its port if it has one */
  host: string;
  /** the owner's DID */
  owner: string;
}

/**
 * Says who this spindle is. Nothing that happened before this host had this owner counts; a process that says the same
 * as others before it changes nothing.
 * @returns what it was before, if that was something else
 */
export async function beSpindle(sql: Sql, { host, owner }: Spindle): Promise<Spindle | undefined> {
  const [row] = await sql<{ host: string | null; owner: string | null }[]>`
    with old as materialized (select host, owner from spindle),
    me as (
      insert into spindle (host, owner) values (${host}, ${owner})
      on conflict (one) do update set host = excluded.host, owner = excluded.owner, since = now()
      where (spindle.host, spindle.owner) <> (excluded.host, excluded.owner)
      returning host, owner
    ),
    due as (
      insert into accounts (did)
      select ${owner}
      union select value ->> 'subject' from me join records on records.did = me.owner
        and collection = 'sh.tangled.spindle.member' and value ->> 'instance' = me.host
      -- what concerned the old one is not all that concerns the new one
      on conflict (did) do update set due_at = clock_timestamp(), listed_rev = null where exists (select from me)
      returning did
    ),
    told as (select pg_notify('repos', host) from me union all select pg_notify('accounts', did) from due)
    select old.host, old.owner from me left join old on true where (select count(*) from told) >= 0`;
  return row?.host && row.owner ? { host: row.host, owner: row.owner } : undefined;
}

/** Who this spindle is; undefined before the first start of ingest. */
export async function whichSpindle(sql: Sql): Promise<(Spindle & { since: Date }) | undefined> {
  const [row] = await sql<(Spindle & { since: Date })[]>`select host, owner, since from spindle`;
  return row;
}

/** No record makes a repository served any more; what is pinned stays. Returns who this spindle was, if anybody. */
export async function beNobody(sql: Sql): Promise<Spindle | undefined> {
  const [row] = await sql<Spindle[]>`
    with gone as (delete from spindle returning host, owner),
    told as (select pg_notify('repos', host) from gone)
    select host, owner from gone where (select count(*) from told) >= 0`;
  return row && { host: row.host, owner: row.owner };
}
