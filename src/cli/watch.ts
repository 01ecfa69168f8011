import { Command } from 'commander';
import { isEnd } from '../pipeline/status.ts';
import { isUnavailable, type Sql } from '../store/db.ts';
import { listen } from '../store/listen.ts';
import { type ListedPipeline, listPipelines, type PipelineFilter } from '../store/pipeline-list.ts';
import { triggerOf } from '../store/overview.ts';
import { withDatabase } from './database.ts';
import { CommandError, exitCodes } from './errors.ts';
import { findPipeline } from './find.ts';
import { notes } from './help.ts';
import { filterOf, type FilterOptions, withFilters } from './pipeline-filters.ts';
import { ownShell, type Shell } from './shell.ts';
import { linePrinter, screen, type View } from './watch-view.ts';

interface Options extends FilterOptions {
  readonly plain?: true;
  readonly json?: true;
}

/** A notice may be lost, and some changes have none. */
const lookEveryMs = 2_000;
/** Between two looks, however many notices come. */
const restMs = 200;
/** How long the database may be away before we give up. At the start we do not wait at all. */
const patienceMs = 120_000;
/** As many as a person can follow. */
const most = 50;

/** `whorl watch`: pipelines as they change. */
export function watchCommand(shell: Shell = ownShell): Command {
  return withFilters(
    new Command('watch')
      .description(
        'watch pipelines as they change: those that are named, until all of them have ended, or all that fit',
      )
      .argument('[pipelines...]', 'pipeline/<knot>/<rkey>, or <knot>/<rkey>, or the rkey alone'),
  )
    .option('--plain', 'a line for each change, also on a terminal')
    .option('--json', 'a JSON object for each change of a job, one a line')
    .addHelpText(
      'after',
      notes({
        about:
          'On a terminal it is drawn in place; into a pipe or a file it prints a line for each change. Without a name ' +
          'it goes on until Ctrl-C, with the newest 50 that fit, open or not.',
        exit: 'With names the exit code is 0 when all have ended green, and 1 when one did not; 130 after Ctrl-C.',
        examples: [
          'whorl watch 3lwz7gq5vks22',
          'whorl watch --repo did:plc:ewvi7nxzyoun6zhxrhs64oiz/site --state open',
          'whorl watch 3lwz7gq5vks22 --plain && ./deploy',
        ],
      }),
    )
    .action(async (names: string[], options: Options) => {
      const interrupted = new AbortController();
      const interrupt = (signal: NodeJS.Signals): void => interrupted.abort(signal);
      const signals = ['SIGINT', 'SIGTERM'] as const;
      for (const signal of signals) process.once(signal, interrupt);
      const view = viewFor(shell, options);
      try {
        const ended = await withDatabase(shell.env, async (sql) => {
          const ids = await Promise.all(names.map((name) => findPipeline(sql, name)));
          const named = ids.length > 0 ? [...new Set<string>(ids)] : undefined;
          return watch(sql, { ...filterOf(options), ids: named }, view, interrupted.signal);
        });
        view.close();
        if (interrupted.signal.aborted) throw new Interrupted(interrupted.signal.reason === 'SIGTERM');
        if (ended.length > 0) throw new CommandError(ended.join('; '));
      } finally {
        view.close();
        for (const signal of signals) process.off(signal, interrupt);
      }
    });
}

/** Nothing is said: whoever pressed the keys knows. */
class Interrupted extends CommandError {
  constructor(terminated: boolean) {
    super('', terminated ? exitCodes.terminated : exitCodes.interrupted);
  }
}

const viewFor = (shell: Shell, { plain: lines, json: asJson }: Options): View =>
  shell.terminal && !lines && !asJson ? screen(shell, shell.terminal) : linePrinter(shell, asJson === true);

/** Shows pipelines until those that are named have ended, and says what was not green about them. */
async function watch(sql: Sql, filter: PipelineFilter, view: View, signal: AbortSignal): Promise<string[]> {
  let wake = (): void => {};
  const listener = listen(sql, ['statuses', 'inbox'], () => wake());
  signal.addEventListener('abort', () => wake(), { once: true });
  view.onResize(() => wake());
  let last: Seen | undefined;
  let seenAt = Number.NEGATIVE_INFINITY;
  try {
    while (!signal.aborted) {
      // Before looking, so that a notice that comes meanwhile counts.
      const woken = Promise.withResolvers<void>();
      wake = woken.resolve;
      const found = await look(sql, filter).catch((error: unknown) => {
        const away = performance.now() - seenAt;
        if (!isUnavailable(error) || away > patienceMs) throw error;
        view.show(last?.pipelines ?? [], ['The database does not answer; trying again.']);
      });
      if (signal.aborted) break;
      if (found) {
        seenAt = performance.now();
        last = found;
        view.show(found.pipelines, found.waiting);
        if (filter.ids && found.open === 0) return found.red;
      }
      const timer = setTimeout(woken.resolve, lookEveryMs);
      await woken.promise;
      clearTimeout(timer);
      if (!signal.aborted) await rest(signal);
    }
    return [];
  } finally {
    await listener.close();
  }
}

function rest(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, restMs);
  signal.addEventListener('abort', () => resolve(), { once: true });
  return promise.finally(() => clearTimeout(timer));
}

interface Seen {
  pipelines: ListedPipeline[];
  /** Sentences about those that are no pipelines yet, or never will be. */
  waiting: string[];
  /** How many of those that are named have not ended. */
  open: number;
  red: string[];
}

async function look(sql: Sql, filter: PipelineFilter): Promise<Seen> {
  const pipelines = await listPipelines(sql, filter, most);
  const missing = (filter.ids ?? []).filter((id) => !pipelines.some((each) => each.id === id));
  const seen: Seen = { pipelines, waiting: [], open: 0, red: [] };
  for (const each of pipelines) {
    if (each.jobs.some(({ status }) => status === null || !isEnd(status))) seen.open++;
    else if (each.state !== 'success' && each.state !== 'empty') seen.red.push(`${each.id} is ${each.state}`);
  }
  for (const id of missing) {
    const trigger = await triggerOf(sql, id);
    const why = trigger?.reason ? `: ${trigger.reason}` : '';
    if (trigger?.state === 'refused' || trigger?.state === 'early') seen.red.push(`${id} was refused${why}`);
    else if (trigger?.state === 'ended') seen.waiting.push(`${id} had nothing to run${why}`);
    else {
      seen.open++;
      seen.waiting.push(`${id} ${trigger?.state === 'held' ? 'is held' : 'waits to be started'}${why}`);
    }
  }
  return seen;
}
