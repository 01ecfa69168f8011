import { Command } from 'commander';
import { loadConfig } from '../config/index.ts';
import { secretMask } from '../activities/mask.ts';
import { steadyMask } from '../log-hide.ts';
import { createLogger, type Logger } from '../log.ts';
import type { Running } from '../roles/start.ts';
import { runUntilTold } from '../roles/until-told.ts';
import { isUnavailable } from '../store/db.ts';
import { notes } from './help.ts';

/** Temporal's SDK is large, and most commands do without it. */
const roles = () => import('../roles/start.ts');

/** `whorl up|ingest|worker|server`: processes that run until they are told to stop. */
export function runCommands(): Command[] {
  return [
    new Command('up')
      .description('run everything in one process, with services of its own where none are set')
      .addHelpText(
        'after',
        notes({
          about: `Without WHORL_DATABASE_URL it runs a PostgreSQL under WHORL_DATA_DIR, and without TEMPORAL_ADDRESS a Temporal server. ${stopping}`,
          examples: ['whorl up', 'WHORL_DATA_DIR=/var/lib/whorl whorl up'],
        }),
      )
      .action(() => run('up', async (config, log) => (await roles()).startUp(config, log))),
    ...(['ingest', 'worker', 'server'] as const).map((name) =>
      new Command(name)
        .description(about[name])
        .addHelpText(
          'after',
          notes({
            about: `Run as many as you like. \`whorl config --for ${name}\` checks what it needs. ${stopping}`,
            examples: [`whorl ${name}`, `WHORL_LOG_LEVEL=debug whorl ${name}`],
          }),
        )
        .action(() => run(name, async (config, log) => (await roles()).startRole(name, config, log))),
    ),
  ];
}

const about = {
  ingest: 'read knots and records, take webhooks, and carry what came in to Temporal',
  worker: 'run workflows and activities',
  server: 'serve /events and /logs to appviews',
};

const stopping = 'SIGTERM and Ctrl-C stop it: nothing new is taken, and what is under way is finished.';

async function run(
  role: Parameters<typeof loadConfig>[2],
  start: (config: ReturnType<typeof loadConfig>['config'], log: Logger) => Promise<Running>,
): Promise<void> {
  const { config, warnings } = loadConfig(process.env, undefined, role);
  const log = createLogger({ ...config.log, mask: steadyMask(secretMask(config.logs.secrets)) });
  for (const warning of warnings) log.warn(warning);
  process.on('unhandledRejection', (error) => {
    // postgres.js rejects where nobody can catch it when a connection is ended while it is being made. Whoever needed
    // that connection is told by the limit of their statement.
    if (!isUnavailable(error)) throw error;
    log.warn({ err: error }, 'a connection to the database was ended while it was made');
  });
  await runUntilTold(() => start(config, log), { log, drainMs: config.drainMs });
}
