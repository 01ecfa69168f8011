import { tidAt, tidTime } from '../forges/tangled/tid.ts';
import type { RecordValue } from '../forges/tangled/record.ts';
import type { Sql } from './db.ts';
import { jsonText } from './json.ts';
import type { Held } from './leases.ts';

export type { Held } from './leases.ts';

/** One frame of the live stream. */
export interface Change {
  did: string;
  collection: string;
  rkey: string;
  /** of the commit: a TID, so that revs sort as text */
  rev: string;
  /** null: deleted, or nothing that counts any more */
  value: RecordValue | null;
  /** when the stream says that it happened */
  at: Date;
}

/** What a listing showed of one account. */
export interface Page {
  did: string;
  /** the account's latest commit, read before the first page */
  rev: string;
  records: readonly { collection: string; rkey: string; value: RecordValue }[];
}

export interface AccountChange {
  did: string;
  active: boolean;
  /** why it is not, in the network's words, such as `deactivated`; `deleted` takes its records away */
  status?: string | undefined;
  at: Date;
}

export interface Applied {
  /** false: the lease has another epoch by now, and nothing was changed */
  mine: boolean;
  /** something here is not as it was */
  changed: boolean;
}

const day = 24 * 3_600_000;

/**
 * Applies one change of the live stream, if its rev is newer than what is here, and moves the stream's cursor in the
 * same statement. What does not concern this spindle leaves no row: member records count by the owner; repos and
 * collaborators by the owner and by members; repos of anybody that name this host; and all that has a row already.
 * @param position where the cursor goes; undefined: stays
 */
export async function applyChange(sql: Sql, held: Held, change: Change, position?: bigint): Promise<Applied> {
  const { did, collection, rkey, rev, value, at } = change;
  const revTime = tidTime(rev);
  const claimed = revTime === undefined ? at.getTime() : Number(revTime / 1_000_000n);
  const since = new Date(Math.max(claimed, at.getTime() - day));
  return await write(sql, held, {
    did,
    rev,
    rows: [{ collection, rkey, value }],
    since: sql`least(${since}::timestamptz, clock_timestamp())`,
    sinceInstead: sql`excluded.since`,
    position,
  });
}

/**
 * Applies what a listing shows, as of the rev that was read before it: strictly newer than what is here, like a change.
 * What is new here was chosen after the account's previous complete listing, and after what was here before.
 * False when the lease is lost.
 */
export async function applyPage(sql: Sql, held: Held, { did, rev, records }: Page): Promise<boolean> {
  // one statement cannot touch the same row twice
  const rows = [...new Map(records.map((row) => [`${row.collection}/${row.rkey}`, row])).values()];
  const { mine } = await write(sql, held, {
    did,
    rev,
    rows,
    since: sql`coalesce((select listed_at from accounts where did = ${did}), '-infinity')`,
    sinceInstead: sql`greatest(excluded.since, r.since)`,
  });
  return mine;
}

interface Writing {
  did: string;
  rev: string;
  rows: readonly { collection: string; rkey: string; value: RecordValue | null }[];
  /** of a row that is new */
  since: Fragment;
  /** of a row (`r`) whose fields say something else now */
  sinceInstead: Fragment;
  position?: bigint | undefined;
}

type Fragment = ReturnType<Sql>;

async function write(
  sql: Sql,
  held: Held,
  { did, rev, rows, since, sinceInstead, position }: Writing,
): Promise<Applied> {
  const [result] = await sql<Applied[]>`
    with ${lease(sql, held, position)},
    given as materialized (
      select collection, rkey, value::jsonb as value from unnest(
        ${rows.map((row) => row.collection)}::text[],
        ${rows.map((row) => row.rkey)}::text[],
        ${rows.map((row) => (row.value === null ? null : jsonText(row.value)))}::text[]
      ) as g (collection, rkey, value)
    ),
    old as materialized (
      select records.collection, records.rkey, records.value from given
      join records on records.did = ${did} and records.collection = given.collection and records.rkey = given.rkey
    ),
    written as (
      insert into records as r (did, collection, rkey, rev, value, since)
      select ${did}, collection, rkey, ${rev}, value, ${since} from mine, given
      where
        -- an account that was deleted begins anew, and of what a complete listing has shown there is no older news
        ${rev} collate "C" > coalesce((select greatest(floor, listed_rev) from accounts where did = ${did}), '')
        and (
          exists (select from old where old.collection = given.collection and old.rkey = given.rkey)
          or exists (
            select from spindle where owner = ${did}
              or (collection = 'sh.tangled.repo' and value ->> 'spindle' = host)
              or (collection <> 'sh.tangled.spindle.member' and ${isMember(sql, did)})
          )
        )
      order by collection, rkey
      on conflict (did, collection, rkey) do update set rev = excluded.rev, value = excluded.value,
        since = case
          when r.value - 'name' - 'repoDid' = excluded.value - 'name' - 'repoDid' then r.since else ${sinceInstead} end
      where r.rev < excluded.rev
      returning r.did, r.collection, r.rkey, r.value
    ),
    news as materialized (
      select written.did, written.collection, written.value, old.value as was
      from written left join old on old.collection = written.collection and old.rkey = written.rkey
      where written.value is distinct from old.value
    ),
    known as (
      -- everybody of whom there is a record; a new member is listed at once, and whole
      insert into accounts (did, due_at)
      select did, min(due_at) from (
        select did, 'infinity'::timestamptz as due_at from written
        union all
        select value ->> 'subject', clock_timestamp() from news, spindle
        where collection = 'sh.tangled.spindle.member' and did = owner and value ->> 'instance' = host
      ) every group by did order by did
      on conflict (did) do update set due_at = least(accounts.due_at, excluded.due_at), listed_rev = null
      where excluded.due_at < 'infinity'
      returning did
    ),
    told_accounts as (select pg_notify('accounts', did) from known),
    touched as materialized (
      select did from news where collection = 'sh.tangled.repo'
      union select value ->> 'subject' from news where collection = 'sh.tangled.spindle.member' and value is not null
      union select was ->> 'subject' from news where collection = 'sh.tangled.spindle.member' and was is not null
    ),
    ${tellTouched(sql)}
    select exists (select from mine) as mine, exists (select from news) as changed,
      (select count(*) from told_accounts) + (select count(*) from told) as told`;
  return { mine: result?.mine ?? false, changed: result?.changed ?? false };
}

/**
 * Ends a listing: what of these collections is live and was not shown is deleted as of its rev.
 * An account that is due and has changed since it was taken is listed once more.
 * @param version of the account's row, as it was taken
 * @param collections all that an account of its kind is listed for: later, no older change of it is news
 * @param began when the listing began, by our clock
 * @returns false when the lease is lost
 */
export async function finishListing(
  sql: Sql,
  held: Held,
  listing: { did: string; version: string; rev: string; collections: readonly string[]; began: Date },
): Promise<boolean> {
  const { did, version, rev, collections, began } = listing;
  const anew = sql`a.xmin::text <> ${version} and a.due_at <= clock_timestamp()`;
  const [result] = await sql<{ mine: boolean }[]>`
    with ${lease(sql, held)},
    before as materialized (select active, floor, status_at from accounts where did = ${did}),
    gone as (
      update records set value = null, rev = ${rev}, since = clock_timestamp() from mine
      where did = ${did} and collection = any(${[...collections]}::text[]) and value is not null and rev < ${rev}
        and ${rev} collate "C" > coalesce((select floor from before), '')
      returning did
    ),
    listed as (
      insert into accounts as a (did, listed_at, listed_rev, due_at)
      select ${did}, least(${began}::timestamptz, clock_timestamp()), ${rev}, ${nextListing(sql, did)} from mine
      on conflict (did) do update set listed_at = greatest(a.listed_at, excluded.listed_at),
        -- due anew: what concerns us has changed, and pages that it had read by then may lack some of it
        listed_rev = case when ${anew} then a.listed_rev else greatest(a.listed_rev, excluded.listed_rev) end,
        due_at = case when ${anew} then a.due_at else excluded.due_at end,
        asked_at = null,
        -- its server speaks for it; but what the network said since then is newer
        active_since = case when a.active is false and coalesce(a.status_at < excluded.listed_at, true)
          then excluded.listed_at else a.active_since end,
        active = a.active or coalesce(a.status_at < excluded.listed_at, true),
        status = case when a.status_at >= excluded.listed_at then a.status end, tries = 0, problem = null
      returning did, active
    ),
    touched as materialized (
      select did from gone
      union select listed.did from listed, before where listed.active <> before.active
    ),
    ${tellTouched(sql)}
    select exists (select from mine) as mine, (select count(*) from told) + (select count(*) from listed) as told`;
  return result?.mine ?? false;
}

/** The owner's account every five minutes; the members' in turn, two seconds for each, in 5 to 330 minutes. */
const nextListing = (sql: Sql, did: string): Fragment => sql`
  clock_timestamp() + case when exists (select from spindle where owner = ${did}) then interval '5 minutes' else
    least(interval '330 minutes', greatest(interval '5 minutes', interval '2 seconds' * (
      select count(*) from spindle join records on records.did = owner and collection = 'sh.tangled.spindle.member'
      where value ->> 'instance' = host))) * (0.9 + random() / 10) end`;

/**
 * What the network says of an account that we have to do with. An older word than the last one changes nothing; of two
 * of the same moment the later in the stream counts.
 */
export async function applyAccount(
  sql: Sql,
  held: Held,
  { did, active, status, at }: AccountChange,
  position?: bigint,
): Promise<Applied> {
  const deleted = !active && status === 'deleted';
  const floor = tidAt(Math.max(0, Math.min(at.getTime(), Date.now())));
  const [result] = await sql<Applied[]>`
    with ${lease(sql, held, position)},
    before as materialized (select active, status from accounts where did = ${did}),
    heard as (
      update accounts set active = ${active}, status = ${active ? null : (status ?? null)},
        status_at = least(${at}::timestamptz, clock_timestamp()),
        active_since = case when ${active} and not accounts.active then least(${at}::timestamptz, clock_timestamp())
          else active_since end,
        floor = case when ${deleted} then greatest(floor, ${floor}) else floor end,
        listed_rev = case when ${deleted} then null else listed_rev end,
        due_at = case when ${active} and not accounts.active then least(due_at, clock_timestamp()) else due_at end
      from mine where did = ${did} and coalesce(status_at <= least(${at}::timestamptz, clock_timestamp()), true)
      returning did
    ),
    gone as (
      delete from records using heard where ${deleted} and records.did = heard.did and rev <= ${floor} returning 1
    ),
    news as materialized (
      select heard.did from heard, before
      where before.active <> ${active} or before.status is distinct from ${active ? null : (status ?? null)}
        or exists (select from gone)
    ),
    touched as materialized (select did from news),
    ${tellTouched(sql)},
    told_accounts as (select pg_notify('accounts', did) from news)
    select exists (select from mine) as mine, exists (select from news) as changed,
      (select count(*) from told_accounts) + (select count(*) from told) as told`;
  return { mine: result?.mine ?? false, changed: result?.changed ?? false };
}

/** A process that was frozen and wakes up finds another epoch here, and changes nothing. */
const lease = (sql: Sql, { source, epoch }: Held, position?: bigint): Fragment => sql`
  mine as materialized (select 1 from leases where source = ${source} and epoch = ${epoch} for share),
  moved as (
    update cursors set position = greatest(position, ${position ?? null}::bigint), updated_at = now() from mine
    where cursors.source = ${source} and ${position !== undefined}
  )`;

/** By a record of the owner's that names this host, in a query of `spindle`. */
const isMember = (sql: Sql, did: string): Fragment => sql`
  exists (
    select from records member where member.collection = 'sh.tangled.spindle.member' and member.did = spindle.owner
      and member.value ->> 'instance' = spindle.host and member.value ->> 'subject' = ${did}
  )`;

/** What is served may be something else now: the readers of knots look again, and dispatch at what it holds. */
const tellTouched = (sql: Sql): Fragment => sql`
  due as (
    update triggers set due_at = clock_timestamp()
    where state = 'held' and body -> 'triggerMetadata' -> 'repo' ->> 'did' = any(array(select did from touched))
    returning share
  ),
  told as (
    select pg_notify('inbox', share || ' triggers') from (select distinct share from due) shares
    union all select pg_notify('repos', did) from touched
  )`;
