import type { Facts } from '../pipeline/access.ts';
import type { Observation } from '../pipeline/words.ts';
import type { BuildRef } from '../providers/provider.ts';
import { askedFacts } from './access.ts';
import { relaxed, type Sql } from './db.ts';

/** What waits for dispatch, by share. Rows of other shares belong to other owners. */

export type WorkKind = 'triggers' | 'deliveries' | 'commands';

/** What waits in shares, by kind, and in how many ms the first of it is due; at 0 or below it is due now. */
export const nextDue = (
  sql: Sql,
  shares: readonly number[],
): Promise<{ share: number; kind: WorkKind; inMs: number }[]> =>
  sql`
    select share, kind, (extract(epoch from due_at - clock_timestamp()) * 1000)::float8 as "inMs"
    from unnest(${[...shares]}::int[]) as asked (share), lateral (values
      ('triggers', (select min(due_at) from triggers where share = asked.share::smallint and state in ('new', 'held'))),
      ('deliveries', (select min(due_at) from deliveries where share = asked.share::smallint and state = 'new')),
      ('commands', (select min(due_at) from commands where share = asked.share::smallint and state = 'new'))
    ) as waiting (kind, due_at)
    where due_at is not null`;

export interface OpenTrigger {
  knot: string;
  nsid: string;
  rkey: string;
  body: unknown;
  /** When it happened, by the knot's clock brought to ours. */
  eventAt: Date | null;
  state: 'new' | 'held';
  /** Past its hold time (database clock). */
  overdue: boolean;
  tries: number;
  receivedAt: Date;
  /** When it was to be looked at, as the database writes it: it changes when somebody else makes it due. */
  dueAt: string;
  /** The database was restored since, and Temporal may have run it before. */
  restored: boolean;
  /** What is known of its repository; null when it names none. */
  facts: Facts | null;
}

/** Triggers with the facts that decide about them, so that one that may run costs no further question. */
export const openTriggers = (sql: Sql, share: number, limit: number): Promise<OpenTrigger[]> =>
  sql<OpenTrigger[]>`
    with open as materialized (
      select knot, nsid, rkey, body, event_at, received_at, state, hold_until, tries, due_at, id,
        body -> 'triggerMetadata' -> 'repo' as repo
      from triggers
      where share = ${share} and state in ('new', 'held') and due_at <= clock_timestamp() order by due_at, id limit ${limit}
    )
    select open.knot, nsid, rkey, body, event_at as "eventAt", received_at as "receivedAt", state, tries, due_at::text as "dueAt",
      coalesce(hold_until <= clock_timestamp(), false) as overdue,
      exists (select from restored where pipeline = 'pipeline/' || open.knot || '/' || rkey) as restored,
      case when asked.did is not null then ${askedFacts(sql)} end as facts
    from open, lateral (
      select open.knot as knot, repo ->> 'did' as did, repo ->> 'repo' as name, repo ->> 'repoDid' as repo_did
    ) asked
    order by due_at, id`;

export interface OpenDelivery {
  id: bigint;
  event: string;
  provider: string;
  build: string;
  rebuiltFrom: string | null;
  ref: BuildRef;
  seen: Observation;
  receivedAt: Date;
  tries: number;
  /** Where a bound build belongs, else the build that it was made from, else where its meta_data points. */
  pipeline: string | null;
  job: string | null;
  route: 'build' | 'rebuild' | 'address' | null;
}

/**
 * Deliveries with their way: a build that we know, then what it was rebuilt from, then its address. Those that tell only
 * of steps come last, since they may wait for long, and nothing else may wait behind them.
 */
export const openDeliveries = (sql: Sql, share: number, limit: number): Promise<OpenDelivery[]> =>
  sql<OpenDelivery[]>`
    with delivery as materialized (
      select * from deliveries where share = ${share} and state = 'new' and due_at <= clock_timestamp()
      order by event like 'job.%', due_at, id limit ${limit}
    )
    select delivery.id, delivery.event, delivery.provider, delivery.build, delivery.rebuilt_from as "rebuiltFrom",
      delivery.ref, delivery.seen, delivery.received_at as "receivedAt", delivery.tries,
      coalesce(known.pipeline, origin.pipeline, jobs.pipeline) as pipeline,
      coalesce(known.job, origin.job, jobs.name) as job,
      case when known.id is not null then 'build' when origin.id is not null then 'rebuild'
        when jobs.name is not null then 'address' end as route
    from delivery
    left join builds known on known.provider = delivery.provider and known.build = delivery.build
    left join builds origin on origin.provider = delivery.provider and origin.build = delivery.rebuilt_from
    left join pipelines on pipelines.knot = delivery.knot and pipelines.rkey = delivery.rkey
    left join jobs on jobs.pipeline = pipelines.id and jobs.name = delivery.job and delivery.rebuilt_from is null
    order by delivery.due_at, delivery.id`;

export type CommandKind = 'cancel' | 'rerun' | 'retry';

export interface OpenCommand {
  id: string;
  pipeline: string;
  /** `watch`: somebody reads the log of the job. `reopen`: the database was restored. */
  kind: CommandKind | 'watch' | 'reopen';
  job: string | null;
  by: string;
  /** Why a job is cancelled, for its status, when that says more than `by`. */
  reason: string | null;
  tries: number;
}

export const openCommands = (sql: Sql, share: number, limit: number): Promise<OpenCommand[]> =>
  sql<OpenCommand[]>`
    select id, pipeline, kind, job, by, reason, tries from commands
    where share = ${share} and state = 'new' and due_at <= clock_timestamp() order by due_at, seq limit ${limit}`;

type TriggerKey = Pick<OpenTrigger, 'knot' | 'nsid' | 'rkey'>;

/** A trigger that is over keeps its key and the reason; its body goes. */
export async function settleTrigger(
  sql: Sql,
  { knot, nsid, rkey }: TriggerKey,
  state: 'started' | 'ended' | 'refused',
  reason: string | null,
): Promise<void> {
  await sql`
    update triggers set state = ${state}, reason = ${reason}, body = null, settled_at = clock_timestamp()
    from ${relaxed(sql)} where knot = ${knot} and nsid = ${nsid} and rkey = ${rkey} and state in ('new', 'held')`;
}

/** A record that commits while a trigger is being held finds nothing to make due, so each is looked at once more. */
const secondLookMs = 1_000;

/**
 * Keeps a trigger whose repository is not served for a while: not knowing is not a no. Changes nothing when the trigger
 * was made due meanwhile, since then the answer may be another one.
 * @param repo `did/name`
 * @returns in how many ms it is due again
 */
export async function holdTrigger(
  sql: Sql,
  { knot, nsid, rkey, dueAt }: TriggerKey & Pick<OpenTrigger, 'dueAt'>,
  { repo, holdMs, reason }: { repo: string; holdMs: number; reason: string },
): Promise<number> {
  const end = sql`coalesce(hold_until, clock_timestamp() + ${holdMs} * interval '1 millisecond')`;
  const [row] = await sql<{ inMs: number }[]>`
    update triggers set state = 'held', reason = ${reason}, repo = ${repo}, hold_until = ${end},
      due_at = case when state = 'held' then ${end}
        else least(${end}, clock_timestamp() + ${secondLookMs} * interval '1 millisecond') end
    where knot = ${knot} and nsid = ${nsid} and rkey = ${rkey} and state in ('new', 'held')
      and due_at = ${dueAt}::text::timestamptz
    returning (extract(epoch from due_at - clock_timestamp()) * 1000)::float8 as "inMs"`;
  return Math.max(0, row?.inMs ?? 0);
}

/**
 * Ends the wait of a trigger whose repository is still not served. False when the trigger was made due meanwhile, since
 * then the answer may be another one.
 */
export async function refuseTrigger(
  sql: Sql,
  { knot, nsid, rkey, dueAt }: TriggerKey & Pick<OpenTrigger, 'dueAt'>,
  { repo, reason }: { repo: string; reason: string },
): Promise<boolean> {
  const rows = await sql`
    update triggers set state = 'refused', reason = ${reason}, repo = ${repo}, body = null, settled_at = clock_timestamp()
    where knot = ${knot} and nsid = ${nsid} and rkey = ${rkey} and state in ('new', 'held')
      and due_at = ${dueAt}::text::timestamptz
    returning 1`;
  return rows.length > 0;
}

export async function settleDeliveries(
  sql: Sql,
  ids: bigint[],
  state: 'done' | 'foreign',
  reason: string | null,
): Promise<void> {
  await sql`
    update deliveries set state = ${state}, reason = ${reason}, settled_at = clock_timestamp()
    from ${relaxed(sql)} where id = any(${ids.map(String)}::text[]::bigint[]) and state = 'new'`;
}

export async function settleCommand(sql: Sql, id: string, state: 'done' | 'refused', result: string): Promise<void> {
  await sql`
    with settled as (
      update commands set state = ${state}, result = ${result}, settled_at = clock_timestamp()
      where id = ${id} and state = 'new' returning id
    ) select pg_notify('commands', id) from settled`;
}

/** Comes back to a row later, longer after each failure. Returns the wait in ms. */
export async function postpone(
  sql: Sql,
  row: { trigger: Pick<OpenTrigger, 'knot' | 'nsid' | 'rkey'> } | { deliveries: bigint[] } | { command: string },
  tries: number,
  reason: string,
): Promise<number> {
  const wait = Math.min(60_000, 500 * 2 ** Math.min(tries, 10));
  const due = sql`clock_timestamp() + ${wait} * interval '1 millisecond'`;
  if ('trigger' in row) {
    const { knot, nsid, rkey } = row.trigger;
    await sql`
      update triggers set due_at = ${due}, tries = tries + 1, reason = ${reason}
      where knot = ${knot} and nsid = ${nsid} and rkey = ${rkey} and state in ('new', 'held')`;
  } else if ('deliveries' in row) {
    await sql`
      update deliveries set due_at = ${due}, tries = tries + 1, reason = ${reason}
      where id = any(${row.deliveries.map(String)}::text[]::bigint[]) and state = 'new'`;
  } else {
    await sql`
      update commands set due_at = ${due}, tries = tries + 1, result = ${reason} where id = ${row.command} and state = 'new'`;
  }
  return wait;
}

/** The command has already made an attempt, in this run of the workflow or in an earlier one. */
export async function wasCarriedOut(sql: Sql, command: string): Promise<boolean> {
  const rows = await sql`select from attempts where command = ${command} limit 1`;
  return rows.length > 0;
}

export type TriggerState = 'new' | 'held' | 'started' | 'ended' | 'refused' | 'early';

export async function triggerState(
  sql: Sql,
  knot: string,
  rkey: string,
): Promise<{ state: TriggerState; reason: string | null } | undefined> {
  const [row] = await sql<{ state: TriggerState; reason: string | null }[]>`
    select state, reason from triggers where knot = ${knot} and rkey = ${rkey} limit 1`;
  return row;
}
