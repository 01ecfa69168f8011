import type { Sql } from './db.ts';
import type { Held } from './leases.ts';

/** An account whose records should be read at its own server now. */
export interface DueAccount {
  did: string;
  /** of the owner, who also has the members' records */
  owner: boolean;
  /** the account's latest commit at its last complete listing; nothing is new while it is the same */
  listedRev: string | null;
  /** how often listing it has failed since it last worked */
  tries: number;
  /** which version of its row this is; another when anything about it has changed */
  version: string;
}

/** Those of the owner and of members that are due: the owner first, then what has waited longest. */
export async function dueAccounts(sql: Sql, limit: number): Promise<DueAccount[]> {
  return await sql<DueAccount[]>`
    select did, did = owner as owner, listed_rev as "listedRev", tries, accounts.xmin::text as version from spindle, accounts
    where due_at <= clock_timestamp() and (did = owner or ${isMember(sql)})
    order by did = owner desc, due_at, did limit ${limit}`;
}

/**
 * An event waits for a record of this account: it is listed before the others, if it is the owner's or a member's, and
 * at most once a minute. Whoever lists is told on the channel `accounts`.
 */
export async function askForListing(sql: Sql, did: string): Promise<void> {
  await sql`
    with asked as (
      insert into accounts (did, due_at, asked_at)
      select ${did}, '-infinity', clock_timestamp() from spindle, (select ${did} as did) accounts
      where accounts.did = owner or ${isMember(sql)}
      on conflict (did) do update set due_at = excluded.due_at, asked_at = excluded.asked_at
      where coalesce(accounts.asked_at < clock_timestamp() - interval '1 minute', true)
      returning did
    )
    select pg_notify('accounts', did) from asked`;
}

/** An account may live elsewhere now. If we have to do with it, whoever remembers where is told: channel `accounts`. */
export async function accountMoved(sql: Sql, did: string): Promise<void> {
  await sql`select pg_notify('accounts', did) from accounts where did = ${did}`;
}

/** A listing failed: why, for people, and when to try again. False when the lease is lost. */
export async function listingFailed(
  sql: Sql,
  { source, epoch }: Held,
  did: string,
  problem: string,
  retryInMs: number,
): Promise<boolean> {
  const [result] = await sql<{ mine: boolean }[]>`
    with mine as materialized (select 1 from leases where source = ${source} and epoch = ${epoch} for share),
    failed as (
      update accounts set problem = ${problem.replaceAll('\0', '\ufffd').toWellFormed()}, tries = tries + 1,
        due_at = clock_timestamp() + ${retryInMs} * interval '1 millisecond'
      from mine where did = ${did}
    )
    select exists (select from mine) as mine`;
  return result?.mine ?? false;
}

/** The live stream may have left something out: everybody is listed as soon as the others leave time for it. */
export async function allDueSoon(sql: Sql): Promise<void> {
  await sql`
    with due as (
      update accounts set due_at = clock_timestamp() from spindle
      where due_at > clock_timestamp() and (did = owner or ${isMember(sql)}) returning 1
    )
    select pg_notify('accounts', '') where exists (select from due)`;
}

/**
 * Everybody whose account matters: the owner, members, and authors of records that are kept. A DID that joins them is
 * told on the channel `accounts`.
 */
export async function interestingDids(sql: Sql): Promise<string[]> {
  const rows = await sql<{ did: string }[]>`select did from accounts`;
  return rows.map(({ did }) => did);
}

/** In a query of `spindle` and `accounts`. */
const isMember = (sql: Sql) => sql`
  exists (
    select from records where collection = 'sh.tangled.spindle.member' and records.did = spindle.owner
      and value ->> 'instance' = spindle.host and value ->> 'subject' = accounts.did
  )`;
