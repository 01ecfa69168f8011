import { Command, Option } from 'commander';
import { parseDuration } from '../config/duration.ts';
import { loadToolConfig } from '../config/index.ts';
import { httpUrl } from '../config/forms.ts';
import type { DatabasePlace, Examined, Group, State } from '../doctor/index.ts';
import { groups, requestsOfCi } from '../doctor/groups.ts';
import { type Database, openDatabase } from '../store/db.ts';
import { type Colour, coloured } from './colours.ts';
import { locate } from './database.ts';
import { CommandError, usageError } from './errors.ts';
import { notes } from './help.ts';
import { withOwnTemporal } from './own-temporal.ts';
import { ownShell, type Shell } from './shell.ts';
import { json, plain } from './text.ts';

interface Options {
  readonly json?: true;
  readonly only?: readonly Group[];
  /** ms */
  readonly timeout: number;
  readonly url?: string;
}

/** `whorl doctor`: looks at everything that this spindle lives on, and says what to do about what is wrong. */
export function doctorCommand(shell: Shell = ownShell): Command {
  return new Command('doctor')
    .description('look at everything that this spindle lives on, and say what to do about what is wrong')
    .addOption(new Option('--only <group...>', 'look at these only').choices(groups))
    .addOption(
      new Option('--timeout <duration>', 'how long each check may take').argParser(readTimeout).default(10_000, '10s'),
    )
    .option('--url <url>', 'where the public face is, if not at https://<WHORL_HOSTNAME>', readUrl)
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      notes({
        about:
          'It asks each service itself, all at once, and changes nothing. Run it where Whorl runs, with its configuration: ' +
          `what it cannot reach, Whorl cannot reach. Of the CI it makes ${requestsOfCi} requests. The address of webhooks ` +
          'gets a request that nobody signed, and a signed ping for each secret, of which nothing is kept. ' +
          'Marks: ✓ as it should be, ! works but look at it, ✗ broken, - could not be judged.',
        exit: 'The exit code is 0 when nothing is broken, and 1 when something is.',
        examples: ['whorl doctor', 'whorl doctor --only database temporal', 'whorl doctor --json --timeout 3s'],
      }),
    )
    .action((options: Options) => doctor(shell, options));
}

async function doctor(shell: Shell, options: Options): Promise<void> {
  // Temporal's client is large, and the other commands do without.
  const { examine } = await import('../doctor/index.ts');
  // What is wrong with the configuration is a finding of its own.
  const env = await withOwnTemporal(shell.env).catch(() => shell.env);
  let opened: Database | undefined;
  const database = async (): Promise<DatabasePlace> => {
    const { url, name } = await locate(loadToolConfig(env).config);
    const limits = { connectTimeoutMs: options.timeout, statementTimeoutMs: options.timeout };
    opened = openDatabase(url, { max: 4, applicationName: 'whorl doctor', ...limits });
    return { name, sql: opened };
  };
  const { only, timeout: timeoutMs, url } = options;
  let found: Examined[];
  try {
    found = await examine({ env, database, only, timeoutMs, url });
  } finally {
    await opened?.end({ timeout: 1 });
  }

  const failed = found.filter(({ state }) => state === 'fail');
  if (options.json) shell.print(json(asData(found)));
  else for (const line of asText(found, shell.colours ?? false)) shell.print(line);
  if (failed.length === 0) return;
  const names = failed.map(({ group, name }) => `${group}: ${name}`).join(', ');
  throw new CommandError(plain(`${failed.length === 1 ? 'one check' : `${failed.length} checks`} failed (${names})`));
}

/** What `--json` prints: a promise to scripts. */
const asData = (found: readonly Examined[]) => ({
  ok: found.every(({ state }) => state !== 'fail'),
  checks: found.map(({ group, name, state, found: what, advice }) => ({
    group,
    name,
    state,
    found: what,
    advice: advice ?? null,
  })),
});

const marks: Record<State, { mark: string; colour: Colour }> = {
  ok: { mark: '✓', colour: 'green' },
  warn: { mark: '!', colour: 'yellow' },
  fail: { mark: '✗', colour: 'red' },
  skipped: { mark: '-', colour: 'grey' },
};

function* asText(found: readonly Examined[], colours: boolean): Generator<string> {
  const painted = (colour: Colour, text: string): string => (colours ? coloured(text, colour) : text);
  const lines = together(found);
  const width = Math.min(widestName, Math.max(...found.map(({ name }) => plain(name).length)));
  let group: Group | undefined;
  for (const each of lines) {
    if (each.group !== group) {
      if (group !== undefined) yield '';
      yield painted('bold', each.group);
    }
    group = each.group;
    const { mark, colour } = marks[each.state];
    yield `  ${painted(colour, mark)} ${plain(each.name).padEnd(width)}  ${plain(each.found)}`;
    if (each.advice !== undefined) yield `    ${''.padEnd(width)}  → ${plain(each.advice)}`;
  }
  yield '';
  yield summary(found);
}

const widestName = 32;

/** What could not be judged for one and the same reason, on one line. */
function together(found: readonly Examined[]): Examined[] {
  const lines: Examined[] = [];
  for (const each of found) {
    const last = lines.at(-1);
    const same = last?.group === each.group && last.found === each.found;
    if (!last || !same || each.state !== 'skipped' || last.state !== 'skipped') lines.push(each);
    else lines[lines.length - 1] = { ...last, name: `${last.name}, ${each.name}` };
  }
  return lines;
}

function summary(found: readonly Examined[]): string {
  const count = (state: State): number => found.filter((each) => each.state === state).length;
  const parts = [`${count('ok')} ok`];
  if (count('warn') > 0) parts.push(`${count('warn')} to look at`);
  if (count('fail') > 0) parts.push(`${count('fail')} failed`);
  if (count('skipped') > 0) parts.push(`${count('skipped')} not judged`);
  return `${found.length} checks: ${parts.join(', ')}`;
}

function readTimeout(text: string): number {
  const timeout = parseDuration(text);
  if (timeout !== undefined && timeout > 0) return timeout;
  throw usageError(`${JSON.stringify(text)} is not a duration: write 5s, 1m or 500ms`);
}

function readUrl(text: string): string {
  const url = httpUrl.schema.safeParse(text);
  if (url.success) return url.data;
  throw usageError('--url must be an http:// or https:// URL');
}
