import { parsePipelineId } from '../pipeline/ids.ts';
import { shareOfPipelineId } from '../pipeline/share.ts';
import type { Status } from '../pipeline/status.ts';
import type { Sql } from './db.ts';
import type { NewCommand } from './commands.ts';
import { loadPipeline, type PipelineRow } from './pipelines.ts';
import type { CommandKind, TriggerState } from './work.ts';

/** What a person who looks at one pipeline is shown. */
export interface Overview {
  id: string;
  /** Undefined until the trigger has been planned, and for ever if it was refused. */
  pipeline: PipelineRow | undefined;
  trigger: TriggerRow | undefined;
  statuses: StatusRow[];
  /** Those that wait to be carried out, oldest first. */
  commands: CommandRow[];
}

export interface TriggerRow {
  nsid: string;
  state: TriggerState;
  reason: string | null;
  receivedAt: Date;
  holdUntil: Date | null;
  tries: number;
}

export interface StatusRow {
  job: string;
  attempt: number;
  epoch: number;
  status: Status;
  error: string | null;
  exitCode: number | null;
  createdAt: Date;
  /** `due`: withheld until its time; `skipped`: overtaken before that. */
  state: 'due' | 'sent' | 'skipped';
  resend: boolean;
}

export interface CommandRow {
  id: string;
  kind: CommandKind;
  job: string | null;
  by: string;
  /** What keeps it from being carried out. */
  result: string | null;
  receivedAt: Date;
  tries: number;
}

export async function overview(sql: Sql, id: string): Promise<Overview> {
  const { knot, rkey } = parsePipelineId(id) ?? { knot: '', rkey: '' };
  const [pipeline, [trigger], statuses, commands] = await Promise.all([
    loadPipeline(sql, id),
    sql<TriggerRow[]>`
      select nsid, state, reason, received_at as "receivedAt", hold_until as "holdUntil", tries
      from triggers where knot = ${knot} and rkey = ${rkey} order by id limit 1`,
    // Each half has an index of its own.
    sql<StatusRow[]>`
      select job, attempt, epoch, status, error, exit_code as "exitCode", created_at as "createdAt", state, resend from (
        select * from statuses where pipeline = ${id} and not resend
        union all
        select * from statuses where pipeline = ${id} and resend
      ) every order by id`,
    sql<CommandRow[]>`
      select id, kind, job, by, result, received_at as "receivedAt", tries from commands
      where share = ${shareOfPipelineId(id)} and state = 'new' and pipeline = ${id} and kind <> 'watch' order by seq`,
  ]);
  return { id, pipeline, trigger, statuses: [...statuses], commands: [...commands] };
}

/** What became of the trigger of a pipeline; undefined when there is none. */
export async function triggerOf(sql: Sql, id: string): Promise<Pick<TriggerRow, 'state' | 'reason'> | undefined> {
  const { knot, rkey } = parsePipelineId(id) ?? { knot: '', rkey: '' };
  const [row] = await sql<Pick<TriggerRow, 'state' | 'reason'>[]>`
    select state, reason from triggers where knot = ${knot} and rkey = ${rkey} order by id limit 1`;
  return row;
}

/** Knots that have a trigger or a pipeline of this key, ten at most. */
export async function knotsOf(sql: Sql, rkey: string): Promise<string[]> {
  const rows = await sql<{ knot: string }[]>`
    select knot from pipelines where rkey = ${rkey} union select knot from triggers where rkey = ${rkey}
    order by knot limit 10`;
  return rows.map(({ knot }) => knot);
}

export async function isKnown(sql: Sql, { knot, rkey }: { knot: string; rkey: string }): Promise<boolean> {
  const [row] = await sql<[{ known: boolean }]>`
    select exists (select from pipelines where knot = ${knot} and rkey = ${rkey})
      or exists (select from triggers where knot = ${knot} and rkey = ${rkey}) as known`;
  return row.known;
}

/** In their order; empty for a pipeline that has not been planned. */
export async function jobNames(sql: Sql, pipeline: string): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`select name from jobs where pipeline = ${pipeline} order by position`;
  return rows.map(({ name }) => name);
}

/** Whether the command that has this id asks for the same. False when there is none. */
export async function isSameCommand(sql: Sql, { id, pipeline, kind, job }: NewCommand): Promise<boolean> {
  const rows = await sql`
    select from commands where id = ${id} and pipeline = ${pipeline} and kind = ${kind}
      and job is not distinct from ${job ?? null}`;
  return rows.length > 0;
}
