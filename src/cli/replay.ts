import { Command, Option } from 'commander';
import { ConfigError, loadToolConfig, type ToolConfig } from '../config/index.ts';
import { version } from '../version.ts';
import { CommandError, exitCodes, usageError } from './errors.ts';
import { notes } from './help.ts';
import { count } from './numbers.ts';
import type { Result } from './replay-run.ts';
import { withOwnTemporal } from './own-temporal.ts';
import { ownShell, type Shell } from './shell.ts';
import { json, plain } from './text.ts';

interface Options {
  readonly query?: string;
  readonly limit?: number;
  readonly concurrency: number;
  readonly json?: true;
}

/** A line that is written over again and again; the empty one takes it away. */
export type Progress = (line: string) => void;

const ownProgress: Progress = (line) => {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[2K${line}`);
};

/** `whorl replay`: whether what is open would go on with this code. */
export function replayCommand(shell: Shell = ownShell, progress: Progress = ownProgress): Command {
  return new Command('replay')
    .description('before an upgrade: replay what is open on this code, and say what would break')
    .option('--query <query>', "Temporal's query for what to replay (default: the open pipelines of WHORL_TASK_QUEUE)")
    .addOption(new Option('--limit <n>', 'the latest so many only').argParser(count('--limit', 1_000_000)))
    .addOption(
      new Option('--concurrency <n>', 'replays at once; each takes a core and 100 MB')
        .argParser(count('--concurrency', 32))
        .default(2),
    )
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      notes({
        about:
          'It changes nothing. It needs the TEMPORAL_* settings of the running release and the code of the new one. docs/changing-workflows.md says what to do about those that break.',
        exit: 'The exit code is 0 when all replay, 1 when some would break, and 2 when it could not be found out.',
        examples: [
          'whorl replay',
          'whorl replay --limit 500 --concurrency 4',
          `whorl replay --query "WorkflowType = 'pipeline' AND StartTime > '2026-05-01T00:00:00Z'"`,
          `whorl replay --query "WorkflowId = 'pipeline/knot1.tangled.sh/3lwz7gq5vks22'" --json`,
        ],
      }),
    )
    .action((options: Options) => replay(shell, progress, options));
}

async function replay(shell: Shell, progress: Progress, options: Options): Promise<void> {
  const { taskQueue, temporal } = configured(shell.env);
  if (!temporal.configured) {
    throw usageError('no Temporal is configured: set TEMPORAL_ADDRESS to that of the running release');
  }
  const query = options.query ?? openPipelines(taskQueue);
  // Temporal's client and worker are large, and the other commands do without.
  const { openSource } = await import('./replay-source.ts');
  const { bundleOwn, replayAll } = await import('./replay-run.ts');
  const source = openSource(await withOwnTemporal(shell.env), query);
  const seen: Seen = { replayed: 0, notBegun: 0, gone: 0, broken: [] };
  try {
    const total = Math.min(await source.count(), options.limit ?? Infinity);
    const show = (): void => progress(progressOf(seen, total));
    if (!options.json) shell.print(`Replaying ${plain(query)} of Temporal (${source.server}) on whorl ${version}.`);
    show();
    await replayAll({
      source,
      runs: first(source.runs(), options.limit ?? Infinity),
      code: await bundleOwn(),
      concurrency: options.concurrency,
      report: (result) => {
        note(seen, result);
        if (result.outcome === 'breaks' && !options.json) {
          progress('');
          for (const line of asText(result)) shell.print(line);
        }
        show();
      },
    });
  } finally {
    progress('');
    await source.close();
  }
  if (options.json) shell.print(json({ server: source.server, query, release: version, ...seen }));
  else for (const line of summary(seen)) shell.print(line);
  const { broken, replayed } = seen;
  if (broken.length > 0) {
    throw new CommandError(`${broken.length} of ${replayed} would break on this code: see docs/changing-workflows.md`);
  }
}

/** What `--json` prints, with where it was found: a promise to scripts. */
interface Seen {
  replayed: number;
  /** Those that no worker has begun; any code may. */
  notBegun: number;
  /** Those that were listed and are no longer kept. */
  gone: number;
  broken: Omit<Broken, 'outcome'>[];
}

type Broken = Result & { outcome: 'breaks' };

function note(seen: Seen, result: Result): void {
  if (result.outcome === 'new') seen.notBegun += 1;
  else if (result.outcome === 'gone') seen.gone += 1;
  else seen.replayed += 1;
  if (result.outcome !== 'breaks') return;
  const { workflowId, runId, event, why, detail } = result;
  seen.broken.push({ workflowId, runId, event, why, detail });
}

const progressOf = ({ replayed, notBegun, gone, broken }: Seen, total: number): string =>
  `${replayed + notBegun + gone} of about ${total}, ${broken.length} would break`;

const asText = ({ workflowId, runId, event, why }: Broken): string[] => [
  plain(`${workflowId} (run ${runId}) would break${event === null ? '' : ` at event ${event}`}:`),
  `  ${plain(why)}`,
];

function summary({ replayed, notBegun, gone, broken }: Seen): string[] {
  if (replayed + notBegun + gone === 0) return ['Nothing fits that query, so nothing can break.'];
  return [
    ...(replayed > 0 ? [`${replayed - broken.length} of ${replayed} replay on this code.`] : []),
    ...(notBegun > 0 ? [`Not begun yet, so they begin with whatever code comes first: ${notBegun}.`] : []),
    ...(gone > 0 ? [`Gone before they could be read: ${gone}.`] : []),
  ];
}

const openPipelines = (taskQueue: string): string =>
  `WorkflowType = 'pipeline' AND TaskQueue = '${taskQueue.replaceAll("'", "''")}' AND ExecutionStatus = 'Running'`;

async function* first<T>(items: AsyncGenerator<T>, count: number): AsyncGenerator<T> {
  let left = count;
  for await (const item of items) {
    yield item;
    left -= 1;
    if (left <= 0) return;
  }
}

/** What is wrong with the settings could not be found out from here either. */
function configured(env: NodeJS.ProcessEnv): ToolConfig {
  try {
    return loadToolConfig(env).config;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new CommandError(error.message, exitCodes.usage, { cause: error });
  }
}
