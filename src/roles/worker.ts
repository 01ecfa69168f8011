import { hostname } from 'node:os';
import {
  NativeConnection,
  TransportError,
  Worker,
  type WorkerOptions,
  type WorkflowBundleOption,
} from '@temporalio/worker';
import type { Logger } from 'pino';
import { houseActivities } from '../activities/housekeeping.ts';
import { notThere, serverOf, temporalAdvice, type TemporalAt } from '../temporal/where.ts';
import { createActivities } from '../activities/index.ts';
import { measuredActivities } from '../activities/measured.ts';
import { logQueue } from '../pipeline/ids.ts';
import type { Config } from '../config/index.ts';
import type { AccountNames } from '../clients/names.ts';
import type { Provider } from '../providers/provider.ts';
import { isOfHandle, rulesOf } from '../providers/buildkite/allow.ts';
import { providers } from '../providers/index.ts';
import { limiter } from '../store/slots.ts';
import { releaser } from '../store/releaser.ts';
import { bundleWorkflows } from './bundle.ts';
import { keepSchedule } from './housekeeping.ts';
import { TemporalAway } from './patience.ts';
import type { Role, RoleDeps } from './role.ts';
import { onRuntime, runtimeMetrics } from './runtime.ts';
import { nativeOptions, openClient } from './temporal.ts';

export interface WorkerRoleOptions {
  /** A bundle made before; without it the workflows are bundled at start (about two seconds). */
  bundlePath?: string | undefined;
  /** How long activities may go on after a stop. Then they are cancelled, and tried again by another worker. */
  graceMs?: number;
  /** Whether this worker sees to the schedule of housekeeping. Default: yes. */
  housekeeping?: boolean;
}

/**
 * Workflows that a process holds in memory, of some 0.4 MB each; what happened last to the others was long ago, and the
 * next thing costs a replay of their history, a few dozen events.
 */
const cachedWorkflows = 300;

/** Logs that a process brings at once: long pulls, each with some memory of its own. */
const logsAtOnce = 8;

/** Runs workflows and activities, brings logs beside them, and shows withheld statuses when they are due. */
export async function startWorker(deps: RoleDeps, options: WorkerRoleOptions = {}): Promise<Role> {
  const { config, sql, log, temporal } = deps;
  const { graceMs = config.drainMs / 2 } = options;
  const connection = await connect(temporal, log);
  const release = releaser({ sql, log });
  const names = await accountNames(config);
  const activities = createActivities({
    sql,
    log,
    providers: configuredProviders(deps, names),
    withheld: (until) => release.wake(until),
    secrets: config.logs.secrets,
    maxLogBytes: config.logs.maxBytes,
  });
  const common = {
    connection,
    namespace: temporal.namespace,
    identity: `whorl@${hostname()}:${process.pid}`,
    interceptors: { activity: [measuredActivities] },
    shutdownGraceTime: graceMs,
    // What does not heed its cancelling is left behind in time for the rest to end well.
    shutdownForceTime: graceMs + config.drainMs * 0.4,
  };
  const workers = await created(temporal, connection, [
    {
      ...common,
      taskQueue: config.taskQueue,
      workflowBundle: await bundle(options.bundlePath),
      activities: {
        ...activities,
        ...houseActivities({ sql, log, logs: config.logs, keepDays: config.keepDays }),
      },
      maxCachedWorkflows: cachedWorkflows,
      maxConcurrentActivityTaskExecutions: 50,
      maxConcurrentWorkflowTaskExecutions: 40,
    },
    {
      ...common,
      // A queue of its own: however many logs wait, no build and no status waits behind them.
      taskQueue: logQueue(config.taskQueue),
      activities: { bring: activities.bring },
      maxConcurrentActivityTaskExecutions: logsAtOnce,
    },
  ]);
  release.start();
  const running = runTogether(workers);
  const stopping = new AbortController();
  const client = openClient(temporal);
  const schedule =
    options.housekeeping === false
      ? undefined
      : keepSchedule({ client, taskQueue: config.taskQueue, log }, stopping.signal);
  return {
    metrics: runtimeMetrics,
    failed: running.then(() => new Promise<never>(() => {})),
    async stop() {
      stopping.abort();
      shutDown(workers);
      await running;
      await schedule;
      await client.connection.close();
      await release.stop();
      await names?.close();
      await connection.close();
    },
  };
}

async function connect(temporal: TemporalAt, log: Logger): Promise<NativeConnection> {
  try {
    return await onRuntime(log, () => NativeConnection.connect(nativeOptions(temporal)));
  } catch (error) {
    throw problem(temporal, error);
  }
}

/** All of them, or none: a worker that is left behind asks Temporal on and on, and its process never ends. */
async function created(temporal: TemporalAt, connection: NativeConnection, each: WorkerOptions[]): Promise<Worker[]> {
  const workers: Worker[] = [];
  try {
    for (const options of each) workers.push(await Worker.create(options));
    return workers;
  } catch (error) {
    // A worker can only be given up by running it.
    await Promise.allSettled(workers.map((worker) => worker.runUntil(async () => {})));
    await connection.close();
    throw error instanceof TransportError ? problem(temporal, error) : error;
  }
}

function problem(temporal: TemporalAt, error: unknown): Error {
  const why = error instanceof Error ? error.message : String(error);
  const where = `Temporal (${serverOf(temporal)})`;
  const advice = temporalAdvice(why);
  const Problem = advice === notThere ? TemporalAway : Error;
  return new Problem(`${where} does not take our connection (${why}): ${advice}`, { cause: error });
}

/** Until all have ended. When one fails, the others are shut down first, so that the connection is free. */
async function runTogether(workers: Worker[]): Promise<void> {
  const runs = workers.map((worker) => worker.run().finally(() => shutDown(workers)));
  const failed = (await Promise.allSettled(runs)).find((run) => run.status === 'rejected');
  if (failed) throw failed.reason;
}

const shutDown = (workers: Worker[]): void => {
  for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
};

/** Where no rule of the allow-list may mean a handle, nobody is asked for one. */
async function accountNames({ buildkite, dev, network }: Config): Promise<AccountNames | undefined> {
  if (!buildkite || !rulesOf(buildkite).some(isOfHandle)) return undefined;
  const names = await import('../clients/names.ts');
  return names.accountNames({ dev, plcUrl: network.plcUrl });
}

function configuredProviders(
  { config, sql, log }: RoleDeps,
  names: AccountNames | undefined,
): Record<string, Provider> {
  const { buildkite } = config;
  return providers({
    fake: { pollMs: config.fake.pollMs },
    buildkite: buildkite && {
      apiUrl: buildkite.apiUrl,
      token: buildkite.token,
      limiter: limiter(sql, { limit: buildkite.requestsPerMinute, windowMs: 60_000 }),
      log,
      allow: { rules: rulesOf(buildkite), names },
    },
  });
}

const bundle = async (path: string | undefined): Promise<WorkflowBundleOption> =>
  path === undefined ? bundleWorkflows() : { codePath: path };
