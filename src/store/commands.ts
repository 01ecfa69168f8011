import { shareOfPipelineId } from '../pipeline/share.ts';
import type { Sql } from './db.ts';
import { jsonText } from './json.ts';
import type { CommandKind } from './work.ts';

export interface NewCommand {
  /** Given by the caller: the same id is the same command. */
  id: string;
  pipeline: string;
  kind: CommandKind;
  job?: string | undefined;
  /** Who asks; shown to people. */
  by: string;
}

/** Writes down what a person asks of a pipeline. Dispatch carries it there. */
export async function insertCommand(sql: Sql, { id, pipeline, kind, job, by }: NewCommand): Promise<void> {
  const share = shareOfPipelineId(pipeline);
  await sql`
    with asked as (
      insert into commands (id, share, pipeline, kind, job, by)
      values (${id}, ${share}, ${pipeline}, ${kind}, ${job ?? null}, ${by}) on conflict do nothing returning share
    ) select pg_notify('inbox', share || ' commands') from asked`;
}

/** Writes down many at once; those whose id is known already stay as they are. */
export async function insertCommands(sql: Sql, commands: readonly NewCommand[]): Promise<void> {
  const rows = commands.map((command) => ({ ...command, share: shareOfPipelineId(command.pipeline) }));
  await sql`
    with asked as (
      insert into commands (id, share, pipeline, kind, job, by)
      select id, share, pipeline, kind, job, by from jsonb_to_recordset(${jsonText(rows)}::text::jsonb)
        as given (id text, share smallint, pipeline text, kind text, job text, by text)
      on conflict do nothing returning share
    ) select pg_notify('inbox', share || ' commands') from (select distinct share from asked) shares`;
}

/** What became of some commands, by their ids. */
export async function commandResults(sql: Sql, ids: readonly string[]): Promise<Map<string, CommandResult>> {
  const rows = await sql<(CommandResult & { id: string })[]>`
    select id, state, result from commands where id = any(${[...ids]}::text[])`;
  return new Map(rows.map(({ id, state, result }) => [id, { state, result }]));
}

export interface CommandResult {
  state: 'new' | 'done' | 'refused';
  /** While it is new: what keeps it from being carried out. */
  result: string | null;
}

export async function commandResult(sql: Sql, id: string): Promise<CommandResult | undefined> {
  const [row] = await sql<CommandResult[]>`select state, result from commands where id = ${id}`;
  return row;
}
