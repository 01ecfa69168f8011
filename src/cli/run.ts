import { Command } from 'commander';
import { loadConfig } from '../config/index.ts';
import { createLogger, type Logger } from '../log.ts';
import { type Running, startRole, startUp } from '../roles/start.ts';
import { isUnavailable } from '../store/db.ts';

/** A stop that takes longer than this is cut short. */
const stopWithinMs = 30_000;

/** `whorl up|ingest|worker|server`: processes that run until they are told to stop. */
export function runCommands(): Command[] {
  return [
    new Command('up')
      .description('Run everything in one process, with services of its own where none are configured.')
      .action(() => run('up', (config, log) => startUp(config, log))),
    ...(['ingest', 'worker', 'server'] as const).map((name) =>
      new Command(name).description(about[name]).action(() => run(name, (config, log) => startRole(name, config, log))),
    ),
  ];
}

const about = {
  ingest: 'Read knots and records, take webhooks, and carry what came in to Temporal. Run as many as you like.',
  worker: 'Run workflows and activities. Run as many as you like.',
  server: 'Serve /events and /logs to appviews. Run as many as you like.',
};

async function run(
  role: Parameters<typeof loadConfig>[2],
  start: (config: ReturnType<typeof loadConfig>['config'], log: Logger) => Promise<Running>,
): Promise<void> {
  const { config, warnings } = loadConfig(process.env, undefined, role);
  const log = createLogger(config.log);
  for (const warning of warnings) log.warn(warning);
  process.on('unhandledRejection', (error) => {
    // postgres.js rejects where nobody can catch it when a connection is ended while it is being made. Whoever needed
    // that connection is told by the limit of their statement.
    if (!isUnavailable(error)) throw error;
    log.warn({ err: error }, 'a connection to the database was ended while it was made');
  });
  const told = Promise.withResolvers<string>();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => told.resolve(signal));

  const running = await start(config, log);
  const why = await Promise.race([
    told.promise,
    running.failed.catch((error: unknown) => (error instanceof Error ? error : new Error(String(error)))),
  ]);
  if (why instanceof Error) {
    log.fatal({ err: why }, 'cannot go on');
    process.exitCode = 1;
  } else {
    log.info({ signal: why }, 'stopping: nothing new is taken, what is under way is finished');
  }
  const timer = setTimeout(() => {
    log.fatal(`not stopped within ${stopWithinMs / 1000} s`);
    process.exit(1);
  }, stopWithinMs);
  await running.stop();
  clearTimeout(timer);
  log.info('stopped');
}
