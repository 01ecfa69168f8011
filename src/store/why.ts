import { type AskedRepo, repoName } from '../pipeline/access.ts';
import type { Sql } from './db.ts';
import type { TriggerState } from './work.ts';

/** What is known of an account that publishes repositories. */
export interface AccountRow {
  active: boolean;
  /** why it is not */
  status: string | null;
  /** when the last complete listing of its records began */
  listedAt: Date | null;
  /** when it is listed next, if it is the owner's or a member's */
  dueAt: Date | null;
  /** how often that has failed since it last worked, and why */
  tries: number;
  problem: string | null;
}

/** Undefined when there is no record of the account, and none was looked for. */
export async function accountOf(sql: Sql, did: string): Promise<AccountRow | undefined> {
  const [row] = await sql<AccountRow[]>`
    select active, status, listed_at as "listedAt",
      case when isfinite(due_at) then due_at when due_at < now() then now() end as "dueAt", tries, problem
    from accounts where did = ${did}`;
  return row;
}

export interface WaitingTrigger {
  rkey: string;
  state: TriggerState;
  reason: string | null;
  receivedAt: Date;
  holdUntil: Date | null;
}

/** The latest triggers of a repository that were not started when they came, newest first. */
export async function unservedTriggers(sql: Sql, asked: AskedRepo, limit: number): Promise<WaitingTrigger[]> {
  return await sql<WaitingTrigger[]>`
    select rkey, state, reason, received_at as "receivedAt", hold_until as "holdUntil" from triggers
    where repo = ${repoName(asked)} and knot = ${asked.knot} order by id desc limit ${limit}`;
}
