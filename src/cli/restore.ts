import { createInterface } from 'node:readline/promises';
import { Command, Option } from 'commander';
import { parseDuration } from '../config/duration.ts';
import { loadToolConfig } from '../config/index.ts';
import { withDatabase } from './database.ts';
import { CommandError, usageError } from './errors.ts';
import { notes } from './help.ts';
import type { Plan } from './restore-run.ts';
import { ownShell, type Shell } from './shell.ts';
import { json, time } from './text.ts';

interface Options {
  readonly yes?: true;
  readonly dryRun?: true;
  readonly json?: true;
  readonly backupOf?: Date;
  /** ms */
  readonly lookBack: number;
}

/** A worker asks at least this often, ms. */
const pollMs = 75_000;

/** `whorl restore`: after the database was put back from a backup, and before the roles are started. */
export function restoreCommand(shell: Shell = ownShell): Command {
  return new Command('restore')
    .description('make a database that was put back from a backup safe to go on with')
    .option('--yes', 'do not ask')
    .option('--dry-run', 'say what would be done, and change nothing')
    .addOption(
      new Option('--backup-of <time>', 'when the backup was made (default: what the database shows)').argParser(
        readTime,
      ),
    )
    .addOption(
      new Option('--look-back <duration>', 'look also at pipelines that began so long before the backup and have ended')
        .argParser(readDuration)
        .default(2 * 3_600_000, '2h'),
    )
    .option('--json', 'the result as JSON')
    .addHelpText(
      'after',
      notes({
        about:
          'Run it while all roles are stopped. What ran in Temporal is ended and started again, and every pipeline of ' +
          'which Temporal or the CI may know more is opened again: its builds are searched for at the CI before any is ' +
          'made. If it dies, run it again; no role starts before it has come to its end. docs/operations.md says when.',
        examples: ['whorl restore --dry-run', 'whorl restore', 'whorl restore --yes --backup-of 2026-05-01T03:00:00Z'],
      }),
    )
    .action((options: Options) => restoreDatabase(shell, options));
}

async function restoreDatabase(shell: Shell, options: Options): Promise<void> {
  const { config } = loadToolConfig(shell.env);
  if (!config.temporal.configured) {
    throw usageError('no Temporal is configured: set TEMPORAL_ADDRESS to that of the roles');
  }
  // Temporal's client is large, and the other commands do without.
  const { restoreTemporal } = await import('./restore-temporal.ts');
  const { restore } = await import('./restore-run.ts');
  const temporal = restoreTemporal(shell.env, config.taskQueue);
  const print = (line: string): void => (options.json ? shell.complain(line) : shell.print(line));
  try {
    const done = await withDatabase(shell.env, (sql) =>
      restore({
        sql,
        temporal,
        contentAt: options.backupOf,
        lookBackMs: options.lookBack,
        quietMs: pollMs,
        agreed: (plan) => agreed(plan, temporal.server, options, print),
        print,
      }),
    );
    if (options.json) shell.print(json(done ?? null));
    else if (done) shell.print('Done. Start the roles now.');
  } finally {
    await temporal.close();
  }
}

async function agreed(plan: Plan, server: string, options: Options, print: (line: string) => void): Promise<boolean> {
  print(`Newest row of the database: ${time(plan.contentAt)}${plan.again ? ', by the restore that was begun' : ''}.`);
  print(`Temporal (${server}) runs ${plan.running} pipelines; each is ended there, and started again by the roles.`);
  if (options.dryRun) {
    print('Nothing was changed.');
    return false;
  }
  if (options.yes) return true;
  if (!process.stdin.isTTY) throw new CommandError('nobody can be asked here: add --yes if this is meant');
  const asking = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await asking.question('Go on? Type yes: ');
    if (answer.trim().toLowerCase() === 'yes') return true;
  } finally {
    asking.close();
  }
  throw new CommandError('nothing was changed');
}

function readDuration(text: string): number {
  const duration = parseDuration(text);
  if (duration === undefined) throw usageError(`${JSON.stringify(text)} is not a duration: write 2h, 1d or 0s`);
  return duration;
}

function readTime(text: string): Date {
  const at = new Date(text);
  if (Number.isNaN(at.getTime()) || at.getTime() > Date.now())
    throw usageError(`${JSON.stringify(text)} is no time in the past: write 2026-05-01T03:00:00Z`);
  return at;
}
