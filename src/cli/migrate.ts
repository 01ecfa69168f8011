import { Command, Option } from 'commander';
import { parseDuration } from '../config/duration.ts';
import { loadToolConfig } from '../config/index.ts';
import { checkSchema, migrate, ownSchema } from '../store/migrate.ts';
import { withDatabase } from './database.ts';
import { usageError } from './errors.ts';
import { ownShell, type Shell } from './shell.ts';

interface Options {
  readonly check?: true;
  /** ms */
  readonly wait: number;
}

/** `whorl migrate`: database and Temporal as this release needs them. */
export function migrateCommand(shell: Shell = ownShell): Command {
  return new Command('migrate')
    .description("bring the database's schema and Temporal's search attributes up to this release")
    .option('--check', 'change nothing; exit code 1 when something is missing')
    .addOption(
      new Option('--wait <duration>', 'how long Temporal may take to come up')
        .argParser(readWait)
        .default(60_000, '60s'),
    )
    .addHelpText(
      'after',
      `
It may run any number of times, and in several places at once. Temporal is left out where no TEMPORAL_* name is set.

Examples:
  whorl migrate
  whorl migrate --check`,
    )
    .action(async (options: Options) => {
      await (options.check ? check(shell) : apply(shell));
      await searchAttributes(shell, options);
    });
}

async function apply({ env, print }: Shell): Promise<void> {
  const began = performance.now();
  let applied = 0;
  const log = (line: string): void => {
    applied += 1;
    print(line);
  };
  const { version } = await withDatabase(env, (sql) => migrate(sql, { log }), { schema: 'any' });
  const took = `${Math.round(performance.now() - began)} ms`;
  const own = await ownSchema();
  if (version > own.version) print(`Database: at schema ${version}, of a newer release; left as it is (${took})`);
  else if (applied === 0) print(`Database: at schema ${version}, nothing to do (${took})`);
  else print(`Database: at schema ${version}, applied ${applied} migration${applied === 1 ? '' : 's'} (${took})`);
}

async function check({ env, print }: Shell): Promise<void> {
  const { version } = await withDatabase(env, (sql) => checkSchema(sql), { schema: 'any' });
  print(`Database: at schema ${version}, as this release needs it`);
}

async function searchAttributes({ env, print }: Shell, options: Options): Promise<void> {
  if (!loadToolConfig(env).config.temporal.configured) {
    print('Temporal: left out, because no TEMPORAL_ADDRESS is set; `whorl up` prepares its own');
    return;
  }
  // Temporal's client is large, and the other commands do without.
  const { ensureSearchAttributes } = await import('./search-attributes.ts');
  const waitMs = options.check ? 0 : options.wait;
  const { server, added } = await ensureSearchAttributes(env, { check: options.check, waitMs, onWait: print });
  const what = added.length > 0 ? `added the search attributes ${added.join(', ')}` : 'its search attributes are there';
  print(`Temporal (${server}): ${what}`);
}

function readWait(text: string): number {
  const wait = parseDuration(text);
  if (wait === undefined) throw usageError(`${JSON.stringify(text)} is not a duration: write 60s, 2m or 0s`);
  return wait;
}
