import { setTimeout as delay } from 'node:timers/promises';
import { Option } from 'commander';
import { failures } from '../pipeline/failures.ts';
import { type CommandResult, commandResults, insertCommands, type NewCommand } from '../store/commands.ts';
import type { Sql } from '../store/db.ts';
import { parkedCauses, parkedFor, type ParkedPipeline } from '../store/parked.ts';
import { CommandError, exitCodes, usageError } from './errors.ts';
import type { Shell } from './shell.ts';
import { json, plain, table, time } from './text.ts';

export interface CauseOptions {
  readonly cause: string;
  /** The ids of the commands begin with it. */
  readonly id: string;
  readonly by: string;
  /** ms, or false for not at all. */
  readonly wait: number | false;
  readonly json?: true;
  readonly dryRun?: true;
  readonly yes?: true;
}

/** What parks a job, as the search attribute `Parked` says it. */
const causes = Object.entries(failures).flatMap(([cause, leads]) => (leads === 'park' ? [cause] : []));

/** More pipelines than this are not tried again without a yes. */
const many = 20;
const lookEveryMs = 500;

/** For the help and for completion; which causes there are is checked later, where they can be counted. */
export function causeOption(): Option {
  const option = new Option('--cause <cause>', 'all jobs that this cause keeps waiting, in all pipelines');
  option.argChoices = causes;
  return option;
}

/** A pipeline that is tried again, with its commands: one, or one for each job when others of its jobs are to wait. */
interface Target extends ParkedPipeline {
  commands: NewCommand[];
}

/** `whorl retry --cause`: a command for each pipeline, and what became of them. */
export async function retryCause(shell: Shell, sql: Sql, options: CauseOptions): Promise<void> {
  const cause = await known(sql, options.cause);
  const targets = (await parkedFor(sql, cause)).map((parked): Target => ({
    ...parked,
    commands: asked(parked, options),
  }));
  if (options.dryRun || targets.length === 0) return show(shell, cause, targets, options);
  await confirm(shell, cause, targets, options);

  const commands = targets.flatMap((target) => target.commands);
  for (let from = 0; from < commands.length; from += 500) {
    await insertCommands(sql, commands.slice(from, from + 500));
  }
  const results = await outcome(shell, sql, commands, options);
  if (options.json) shell.print(json(asData(cause, targets, options, results)));
  report(shell, commands, results, options);
}

/** The same call with the same id asks for the same again, which is carried out once. */
function asked({ pipeline, jobs, others }: ParkedPipeline, { id, by }: CauseOptions): NewCommand[] {
  const command = { pipeline, kind: 'retry', by } as const;
  if (!others) return [{ ...command, id: `${id}/${pipeline}` }];
  return jobs.map((job) => ({ ...command, id: `${id}/${pipeline}/${job}`, job }));
}

async function known(sql: Sql, text: string): Promise<string> {
  const cause = causes.find((each) => each.toLowerCase() === text.toLowerCase());
  if (cause !== undefined) return cause;
  const counts = new Map((await parkedCauses(sql)).map((each) => [each.cause, each.pipelines]));
  const list = [...new Set([...counts.keys(), ...causes])].map((each) => `${each} (${counts.get(each) ?? 0})`);
  throw usageError(
    `${JSON.stringify(text)} is no cause that parks jobs; these are, with the pipelines that each keeps waiting now: ${list.join(', ')}`,
  );
}

function show(shell: Shell, cause: string, targets: Target[], options: CauseOptions): void {
  if (options.json) return shell.print(json(asData(cause, targets, options, new Map())));
  if (targets.length === 0) return shell.print(`Nothing is parked for ${cause}.`);
  const rows = targets.map(({ pipeline, did, repo, jobs, since, why }) => [
    pipeline,
    `${did}/${repo}`,
    jobs.join(', '),
    time(since),
    why,
  ]);
  for (const line of table([['PIPELINE', 'REPOSITORY', 'JOBS', 'SINCE', 'WHY'], ...rows])) shell.print(line);
  shell.print(`${pipelines(targets.length)} would be tried again; nothing was done.`);
}

async function confirm(shell: Shell, cause: string, targets: Target[], { yes }: CauseOptions): Promise<void> {
  if (yes || targets.length <= many) return;
  const what = `${pipelines(targets.length)} parked for ${cause}`;
  if (!shell.ask) {
    throw usageError(`${what} would be tried again at once: say --yes if that is meant, or look first with --dry-run`);
  }
  const answer = await shell.ask(`Try ${what} again? [y/N] `);
  if (!/^y(es)?$/i.test(answer.trim())) throw new CommandError('nothing was done');
}

type Results = Map<string, CommandResult>;

/** Looks until all are settled or the time is up. */
async function outcome(shell: Shell, sql: Sql, commands: NewCommand[], options: CauseOptions): Promise<Results> {
  const ids = commands.map(({ id }) => id);
  const end = performance.now() + (options.wait === false ? 0 : options.wait);
  for (let told = 0, tellAt = performance.now() + 2_000; ;) {
    const results = await commandResults(sql, ids);
    const settled = count(results, 'done') + count(results, 'refused');
    if (settled === ids.length || performance.now() >= end) return results;
    if (!options.json && settled > told && performance.now() >= tellAt) {
      shell.complain(`${settled} of ${ids.length} …`);
      [told, tellAt] = [settled, performance.now() + 2_000];
    }
    await delay(Math.min(lookEveryMs, Math.max(1, end - performance.now())));
  }
}

const count = (results: Results, state: CommandResult['state']): number =>
  [...results.values()].filter((result) => result.state === state).length;

function report(
  shell: Shell,
  commands: NewCommand[],
  results: Results,
  { wait, id, json: asJson }: CauseOptions,
): void {
  const [done, refused] = [count(results, 'done'), count(results, 'refused')];
  const waiting = commands.length - done - refused;
  if (!asJson) {
    for (const { id: each, pipeline, job } of commands) {
      const answer = results.get(each);
      if (answer?.state !== 'refused') continue;
      shell.print(plain(`${pipeline}${job === undefined ? '' : ` ${job}`}: ${answer.result ?? 'refused'}`));
    }
    const parts = [`${done} tried again`, `${refused} refused`, `${waiting} still to be carried out`];
    shell.print(`${parts.filter((part) => !part.startsWith('0 ')).join(', ')}.`);
  }
  if (waiting > 0 && wait !== false) {
    throw new CommandError(
      `${waiting} of ${commands.length} still wait to be carried out: the same again with \`--id ${plain(id)}\` waits for them`,
      exitCodes.waiting,
    );
  }
  if (refused > 0) throw new CommandError(`${refused} of ${commands.length} were refused`);
}

/** What `--json` prints: a promise to scripts. `state` is null when nothing was asked. */
const asData = (cause: string, targets: Target[], { id, by, dryRun }: CauseOptions, results: Results) => ({
  cause,
  id,
  by,
  dryRun: dryRun ?? false,
  pipelines: targets.map(({ pipeline, did, repo, jobs, since, why, commands }) => ({
    pipeline,
    repo: `${did}/${repo}`,
    jobs,
    since: since.toISOString(),
    why,
    commands: commands.map((command) => ({
      id: command.id,
      job: command.job ?? null,
      state: results.get(command.id)?.state ?? null,
      result: results.get(command.id)?.result ?? null,
    })),
  })),
});

const pipelines = (number: number): string => (number === 1 ? '1 pipeline' : `${number} pipelines`);
