import { hostname } from 'node:os';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, NativeConnection, Runtime, Worker, type WorkflowBundleOption } from '@temporalio/worker';
import type { Logger } from 'pino';
import type { AllowRule } from '../allow.ts';
import { createActivities } from '../activities/index.ts';
import type { BuildkiteConfig } from '../config/types.ts';
import type { Provider } from '../providers/provider.ts';
import { providers } from '../providers/index.ts';
import { limiter } from '../store/slots.ts';
import { releaser } from '../store/releaser.ts';
import type { Role, RoleDeps } from './role.ts';
import { nativeOptions } from './temporal.ts';

export interface WorkerOptions {
  /** A bundle made before; without it the workflows are bundled at start (about a second). */
  bundlePath?: string | undefined;
  /** How long activities may go on after a stop. */
  graceMs?: number;
}

/** Runs workflows and activities, and shows withheld statuses when they are due. */
export async function startWorker(deps: RoleDeps, options: WorkerOptions = {}): Promise<Role> {
  const { config, sql, log, temporal } = deps;
  installRuntime(log);
  const connection = await NativeConnection.connect(nativeOptions(temporal));
  const release = releaser({ sql, log });
  const activities = createActivities({
    sql,
    log,
    providers: configuredProviders(deps),
    withheld: (until) => release.wake(until),
  });
  const worker = await Worker.create({
    connection,
    namespace: temporal.namespace,
    taskQueue: config.taskQueue,
    identity: `whorl@${hostname()}:${process.pid}`,
    workflowBundle: await bundle(options.bundlePath, log),
    activities,
    maxCachedWorkflows: 1000,
    maxConcurrentActivityTaskExecutions: 50,
    maxConcurrentWorkflowTaskExecutions: 40,
    shutdownGraceTime: options.graceMs ?? 10_000,
    shutdownForceTime: (options.graceMs ?? 10_000) + 10_000,
  });
  release.start();
  const running = worker.run();
  return {
    failed: running.then(() => new Promise<never>(() => {})),
    async stop() {
      if (worker.getState() === 'RUNNING') worker.shutdown();
      await running;
      await release.stop();
      await connection.close();
    },
  };
}

function configuredProviders({ config, sql, log }: RoleDeps): Record<string, Provider> {
  const { buildkite } = config;
  return providers({
    fake: { pollMs: config.fake.pollMs },
    buildkite: buildkite && {
      apiUrl: buildkite.apiUrl,
      token: buildkite.token,
      limiter: limiter(sql, { limit: buildkite.requestsPerMinute, windowMs: 60_000 }),
      log,
      allow: allowed(buildkite),
    },
  });
}

/** Unset, the allow-list lets everybody use the configured organisation, and nothing else. */
const allowed = ({ allow, org }: BuildkiteConfig): readonly AllowRule[] =>
  allow ?? (org === undefined ? [] : [{ repo: '**', target: `${org}/*` }]);

async function bundle(path: string | undefined, log: Logger): Promise<WorkflowBundleOption> {
  if (path !== undefined) return { codePath: path };
  const workflowsPath = fileURLToPath(new URL('../workflows/index.ts', import.meta.url));
  return bundleWorkflowCode({ workflowsPath, logger: asTemporalLogger(log) });
}

let installed = false;

/** Once per process; signals are ours to handle, in the order that the roles need. */
function installRuntime(log: Logger): void {
  if (installed) return;
  installed = true;
  Runtime.install({ shutdownSignals: [], logger: asTemporalLogger(log) });
}

const methods = { TRACE: 'trace', DEBUG: 'debug', INFO: 'debug', WARN: 'warn', ERROR: 'error' } as const;
type Meta = Record<string | symbol, unknown>;

/** Temporal's own news is for debugging; its warnings are ours too. */
const asTemporalLogger = (log: Logger) => ({
  log: (level: keyof typeof methods, message: string, meta?: Meta) => log[methods[level]](meta ?? {}, message),
  trace: (message: string, meta?: Meta) => log.trace(meta ?? {}, message),
  debug: (message: string, meta?: Meta) => log.debug(meta ?? {}, message),
  info: (message: string, meta?: Meta) => log.debug(meta ?? {}, message),
  warn: (message: string, meta?: Meta) => log.warn(meta ?? {}, message),
  error: (message: string, meta?: Meta) => log.error(meta ?? {}, message),
});
