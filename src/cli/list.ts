import { Command, Option } from 'commander';
import { isEnd } from '../pipeline/status.ts';
import { type ListedPipeline, listPipelines } from '../store/pipeline-list.ts';
import { typedAgain } from './again.ts';
import { paintStates } from './colours.ts';
import { withDatabase } from './database.ts';
import { fitted, isNarrow } from './fit.ts';
import { notes } from './help.ts';
import { count } from './numbers.ts';
import { cursorOf, filterOf, type FilterOptions, readCursor, withFilters } from './pipeline-filters.ts';
import { ownShell, type Shell } from './shell.ts';
import { json, plain } from './text.ts';
import { age } from './when.ts';

interface Options extends FilterOptions {
  readonly limit: number;
  readonly after?: { place: string; id: string };
  readonly json?: true;
}

/** `whorl pipelines`: which there are, newest first, a page at a time. */
export function listCommand(shell: Shell = ownShell): Command {
  const command = withFilters(new Command('pipelines').description('list pipelines, newest first'))
    .addOption(new Option('--limit <n>', 'how many at most').argParser(count('--limit', 1_000)).default(20))
    .addOption(new Option('--after <cursor>', 'go on where the last page ended').argParser(readCursor))
    .option('--json', 'as JSON: pipelines with their jobs, and `next`, the cursor of the next page')
    .addHelpText(
      'after',
      notes({
        about:
          'A pipeline is parked when a job of it waits for the operator, running when one runs or some have ended, else ' +
          'pending; at its end it is failed, timeout or cancelled as soon as one job is, in this order. JOBS counts ' +
          'those that have ended.',
        examples: [
          'whorl pipelines',
          'whorl pipelines --state open --older-than 1h',
          'whorl pipelines --parked CredentialsRejected',
          'whorl pipelines --repo did:plc:ewvi7nxzyoun6zhxrhs64oiz/site --branch main --since 7d --json',
        ],
      }),
    );
  return command.action(async (options: Options) => {
    const filter = { ...filterOf(options), after: options.after };
    // One more, to know whether there are more.
    const found = await withDatabase(shell.env, (sql) => listPipelines(sql, filter, options.limit + 1));
    const page = found.slice(0, options.limit);
    const last = found.length > options.limit ? page.at(-1) : undefined;
    const next = last ? cursorOf(last) : undefined;
    if (options.json) return shell.print(json({ pipelines: page.map(asData), next: next ?? null }));
    if (page.length === 0) return shell.print(nothing(options));
    for (const line of pipelineTable(page, shell)) shell.print(line);
    if (next !== undefined) shell.print(`\nMore: ${plain(typedAgain(command, '--after', next))}`);
  });
}

const nothing = (options: Options): string =>
  [...Object.values(filterOf(options)), options.after].some((value) => value !== undefined)
    ? 'No pipeline fits.'
    : 'There is no pipeline yet: `whorl repos list` shows what is served, and `whorl knots` what is read.';

/** What `--json` prints of one: a promise to scripts. */
const asData = ({ id, place, ...about }: ListedPipeline) => ({
  pipeline: id,
  ...about,
  cursor: cursorOf({ id, place }),
});

/** Pipelines as a table with a head, as wide as the terminal. */
export function pipelineTable(pipelines: readonly ListedPipeline[], { colours, terminal }: Shell): string[] {
  const rows = pipelines.map(({ knot, rkey, createdAt, state, jobs, repo, did, branch, commit }) => [
    `${knot}/${rkey}`,
    age(createdAt),
    state,
    `${jobs.filter(({ status }) => status !== null && isEnd(status)).length}/${jobs.length}`,
    branch,
    commit.slice(0, 7),
    repo,
    ...(isNarrow(terminal) ? [] : [did]),
  ]);
  const head = [
    'PIPELINE',
    'AGE',
    'STATE',
    'JOBS',
    'BRANCH',
    'COMMIT',
    'REPO',
    ...(isNarrow(terminal) ? [] : ['OWNER']),
  ];
  const width = terminal?.size().columns;
  return fitted([head, ...rows], { width, keep: [0, 1, 2, 3, 5], paint: paintStates(colours, 2) });
}
