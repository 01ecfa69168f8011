import { Command, Option } from 'commander';
import { parseDuration } from '../config/duration.ts';
import { loadToolConfig } from '../config/index.ts';
import { checkSchema, migrate, ownSchema } from '../store/migrate.ts';
import { withDatabase } from './database.ts';
import { usageError } from './errors.ts';
import { notes } from './help.ts';
import { ownShell, type Shell } from './shell.ts';
import { json } from './text.ts';

interface Options {
  readonly check?: true;
  /** ms */
  readonly wait: number;
  readonly json?: true;
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
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      notes({
        about:
          'It may run any number of times, and in several places at once. Temporal is left out where no TEMPORAL_* name is set.',
        examples: ['whorl migrate', 'whorl migrate --check'],
      }),
    )
    .action(async (options: Options) => {
      const say = (line: string): void => (options.json ? undefined : shell.print(line));
      const database = await (options.check ? check(shell) : apply(shell, say));
      say(database.words);
      const temporal = await searchAttributes(shell, options, say);
      say(temporal?.words ?? 'Temporal: left out, because no TEMPORAL_ADDRESS is set; `whorl up` prepares its own');
      if (options.json) shell.print(json({ database: database.data, temporal: temporal?.data ?? null }));
    });
}

/** For people, and what `--json` prints: a promise to scripts. */
interface Told<T> {
  words: string;
  data: T;
}

type Database = Told<{ schema: number; needs: number; applied: string[] }>;
type Temporal = Told<{ server: string; added: string[] }>;

async function apply({ env }: Shell, say: (line: string) => void): Promise<Database> {
  const began = performance.now();
  const applied: string[] = [];
  const log = (line: string): void => {
    applied.push(line.replace(/^applying migration /, ''));
    say(line);
  };
  const { version } = await withDatabase(env, (sql) => migrate(sql, { log }), { schema: 'any' });
  const took = `${Math.round(performance.now() - began)} ms`;
  const { version: needs } = await ownSchema();
  const count = `${applied.length} migration${applied.length === 1 ? '' : 's'}`;
  const done =
    version > needs ? 'of a newer release; left as it is' : applied.length === 0 ? 'nothing to do' : `applied ${count}`;
  return { words: `Database: at schema ${version}, ${done} (${took})`, data: { schema: version, needs, applied } };
}

async function check({ env }: Shell): Promise<Database> {
  const { version } = await withDatabase(env, (sql) => checkSchema(sql), { schema: 'any' });
  const { version: needs } = await ownSchema();
  return {
    words: `Database: at schema ${version}, as this release needs it`,
    data: { schema: version, needs, applied: [] },
  };
}

async function searchAttributes(
  { env }: Shell,
  options: Options,
  say: (line: string) => void,
): Promise<Temporal | undefined> {
  if (!loadToolConfig(env).config.temporal.configured) return undefined;
  // Temporal's client is large, and the other commands do without.
  const { ensureSearchAttributes } = await import('./search-attributes.ts');
  const waitMs = options.check ? 0 : options.wait;
  const { server, added } = await ensureSearchAttributes(env, { check: options.check, waitMs, onWait: say });
  const what = added.length > 0 ? `added the search attributes ${added.join(', ')}` : 'its search attributes are there';
  return { words: `Temporal (${server}): ${what}`, data: { server, added } };
}

function readWait(text: string): number {
  const wait = parseDuration(text);
  if (wait === undefined) throw usageError(`${JSON.stringify(text)} is not a duration: write 60s, 2m or 0s`);
  return wait;
}
