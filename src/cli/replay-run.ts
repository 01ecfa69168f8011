import { fileURLToPath } from 'node:url';
import { IllegalStateError } from '@temporalio/common';
import { bundleWorkflowCode, type Logger, Runtime, Worker } from '@temporalio/worker';
import { CommandError, exitCodes, messageOf } from './errors.ts';
import type { History, Run, Source } from './replay-source.ts';
import { type Difference, explain } from './replay-words.ts';

export type Result = Run &
  (
    | { outcome: 'replays' }
    | ({ outcome: 'breaks' } & Difference)
    /** No worker has seen it yet, so any code may begin it. */
    | { outcome: 'new' }
    /** It was listed, but is no longer kept. */
    | { outcome: 'gone' }
  );

export interface ReplayOptions {
  source: Pick<Source, 'history'>;
  runs: AsyncGenerator<Run>;
  /** The bundle of the workflows. */
  code: string;
  /** Replays at once; each has a thread and its own copy of the workflows. */
  concurrency: number;
  report: (result: Result) => void;
}

interface Fetched {
  run: Run;
  history: History | undefined;
}

const quiet: Logger = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} };

/** The workflows of this release, made once for all replays. */
export async function bundleOwn(): Promise<string> {
  const workflowsPath = fileURLToPath(new URL('../workflows/index.ts', import.meta.url));
  try {
    return (await bundleWorkflowCode({ workflowsPath, logger: quiet })).code;
  } catch (error) {
    throw new CommandError(`the workflows of this code cannot be bundled: ${messageOf(error)}`, exitCodes.usage, {
      cause: error,
    });
  }
}

/** Replays every run, and reports each. At most two histories for each replay at once are in memory. */
export async function replayAll({ source, runs, code, concurrency, report }: ReplayOptions): Promise<void> {
  silence();
  let failed = false;
  const ahead = prefetched(runs, async (run) => ({ run, history: await source.history(run) }), concurrency);
  const next = async (): Promise<Fetched | undefined> => (failed ? undefined : ahead());
  const lanes = Array.from({ length: concurrency }, () =>
    lane(code, next, report).catch((error: unknown) => {
      failed = true;
      throw error;
    }),
  );
  const bad = (await Promise.allSettled(lanes)).find((each) => each.status === 'rejected');
  if (bad) throw bad.reason;
}

/** One after the other, as the SDK does it. */
async function lane(
  code: string,
  next: () => Promise<Fetched | undefined>,
  report: ReplayOptions['report'],
): Promise<void> {
  let current: Fetched | undefined;
  async function* histories() {
    for (let fetched = await next(); fetched; fetched = await next()) {
      const { run, history } = fetched;
      if (!history) report({ ...run, outcome: 'gone' });
      else if (!hasBegun(history)) report({ ...run, outcome: 'new' });
      else {
        current = fetched;
        yield { workflowId: run.workflowId, history };
      }
    }
  }
  // Not in debug mode, which is the SDK's default for replays: there, code that loops for ever would never be stopped.
  const options = { workflowBundle: { code }, debugMode: false };
  for await (const { error } of Worker.runReplayHistories(options, histories())) {
    if (!current) continue;
    const { run, history } = current;
    report(
      error ? { ...run, outcome: 'breaks', ...explain(error, history?.events ?? []) } : { ...run, outcome: 'replays' },
    );
  }
}

const hasBegun = ({ events }: History): boolean =>
  events?.some((event) => event.workflowTaskCompletedEventAttributes) ?? false;

/** Begins so many before they are asked for, and gives them in order; undefined at the end. */
function prefetched<T, R>(
  items: AsyncGenerator<T>,
  fetch: (item: T) => Promise<R>,
  count: number,
): () => Promise<R | undefined> {
  const begun: Promise<R | undefined>[] = [];
  const begin = (): void => {
    const fetched = items.next().then(({ done, value }) => (done ? undefined : fetch(value)));
    // Whoever takes it is told.
    fetched.catch(() => {});
    begun.push(fetched);
  };
  return () => {
    while (begun.length <= count) begin();
    return begun.shift() ?? Promise.resolve(undefined);
  };
}

/** What the SDK has to say is in the results. A process that runs a worker too has its runtime already. */
function silence(): void {
  try {
    const telemetryOptions = { logging: { forward: {}, filter: 'OFF' } };
    Runtime.install({ logger: quiet, shutdownSignals: [], telemetryOptions });
  } catch (error) {
    if (!(error instanceof IllegalStateError)) throw error;
  }
}
