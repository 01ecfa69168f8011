import { IllegalStateError, Runtime } from '@temporalio/worker';
import type { Logger } from 'pino';
import { freePorts } from '../embedded/ports.ts';

/** Where the SDK's own exporter answers in this process, on the loopback interface. */
let exporter: string | undefined;

/** So often on a port; then without metrics, because work is worth more than numbers. */
const mostTries = 3;

/**
 * Connects on Temporal's runtime, one per process. The SDK ends it with its last connection and makes it again with the
 * next, on the same port: when that was taken meanwhile, or is not free yet, it is made on another.
 */
export async function onRuntime<T>(log: Logger, connect: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      await install(log, tries <= mostTries);
      return await connect();
    } catch (error) {
      if (!isPortTaken(error) || tries > mostTries) throw error;
      log.warn({ err: error, tries }, 'the port for the metrics of Temporal’s SDK could not be taken');
    }
  }
}

/** Makes the runtime where there is none. Signals are ours to handle, in the order that the roles need. */
async function install(log: Logger, measured: boolean): Promise<void> {
  // Its native part would write to standard output, past our log and what that hides.
  const logging = { forward: {}, filter: { core: 'WARN', other: 'ERROR' } } as const;
  const [port] = await freePorts(1);
  const bindAddress = `127.0.0.1:${port}`;
  const prometheus = { bindAddress, countersTotalSuffix: true, unitSuffix: true, useSecondsForDurations: true };
  const telemetryOptions = measured ? { logging, metrics: { prometheus } } : { logging };
  try {
    Runtime.install({ shutdownSignals: [], logger: asTemporalLogger(log), telemetryOptions });
    exporter = measured ? `http://${bindAddress}/metrics` : undefined;
    if (measured) log.debug({ exporter }, 'Temporal’s SDK tells its metrics here');
  } catch (error) {
    if (!(error instanceof IllegalStateError)) throw error;
  }
}

const isPortTaken = (error: unknown): boolean => error instanceof Error && /prometheus.*exporter/i.test(error.message);

/** The metrics of Temporal's SDK, `temporal_*`, in Prometheus's text format; empty while there are none. */
export async function runtimeMetrics(): Promise<string> {
  if (exporter === undefined) return '';
  const answer = await fetch(exporter, { signal: AbortSignal.timeout(1_000) });
  return answer.ok ? answer.text() : '';
}

const methods = { TRACE: 'trace', DEBUG: 'debug', INFO: 'debug', WARN: 'warn', ERROR: 'error' } as const;
type Meta = Record<string | symbol, unknown>;
/** What brings logs has none on purpose. */
const noWorkflows = 'No workflows registered';

const methodOf = (level: keyof typeof methods, message: string) =>
  message.startsWith(noWorkflows) ? 'debug' : methods[level];

/** Temporal's own news is for debugging; its warnings are ours too. */
const asTemporalLogger = (log: Logger) => {
  const write = (level: keyof typeof methods, message: string, meta?: Meta): void =>
    log[methodOf(level, message)](meta ?? {}, message);
  return {
    log: write,
    trace: (message: string, meta?: Meta) => write('TRACE', message, meta),
    debug: (message: string, meta?: Meta) => write('DEBUG', message, meta),
    info: (message: string, meta?: Meta) => write('INFO', message, meta),
    warn: (message: string, meta?: Meta) => write('WARN', message, meta),
    error: (message: string, meta?: Meta) => write('ERROR', message, meta),
  };
};
