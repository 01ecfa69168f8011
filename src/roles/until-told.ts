import type { Logger } from 'pino';
import { startPatiently } from './patience.ts';
import type { Running } from './start.ts';

/**
 * Runs until SIGTERM or SIGINT, or until it cannot go on, and then stops within `drainMs`. The exit code is 0 when all
 * that was under way has ended, 1 when the time was over first, or when something went wrong. A second signal ends the
 * process at once.
 */
export async function runUntilTold(
  start: () => Promise<Running>,
  { log, drainMs }: { log: Logger; drainMs: number },
): Promise<void> {
  const told = Promise.withResolvers<string>();
  const waiting = new AbortController();
  let isTold = false;
  const limit = (): void => {
    setTimeout(() => {
      log.fatal(`not everything ended within ${drainMs / 1000} s (WHORL_DRAIN_TIME): the rest is done again elsewhere`);
      exit(log);
    }, drainMs).unref();
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (isTold) {
        log.fatal({ signal }, 'told again: ending at once');
        return exit(log);
      }
      isTold = true;
      limit();
      told.resolve(signal);
      waiting.abort();
    });
  }

  const running = await startPatiently(start, { log, told: waiting.signal });
  if (!running) return log.info('stopped before it had started');
  const why = await Promise.race([
    told.promise,
    running.failed.catch((error: unknown) => (error instanceof Error ? error : new Error(String(error)))),
  ]);
  if (why instanceof Error) {
    log.fatal({ err: why }, 'cannot go on');
    process.exitCode = 1;
    if (!isTold) limit();
  } else {
    log.info({ signal: why, drainMs }, 'stopping: nothing new is taken, what is under way is finished');
  }
  try {
    await running.stop();
    log.info('stopped');
  } catch (error) {
    log.fatal({ err: error }, 'stopped, but not everything had ended');
    process.exitCode = 1;
  }
}

/** With the last line out: a log for terminals is written by another thread. */
function exit(log: Logger): void {
  log.flush(() => process.exit(1));
  setTimeout(() => process.exit(1), 200).unref();
}
