/** Ctrl-C, and what else asks a process to end. */
export interface Interrupt {
  signal: AbortSignal;
  /** The promise, or a rejection as soon as somebody asks to end. */
  or<T>(promise: Promise<T>): Promise<T>;
}

/** A terminal tells the whole group of processes, and npm passes on what it got: the second one soon after says nothing. */
const sameMs = 1_000;

/**
 * From now on a signal to end aborts. Who sends another one later does not want to wait: the process ends at once, and
 * the servers notice that by themselves.
 */
export function untilStopped(): Interrupt {
  const controller = new AbortController();
  const stopped = Promise.withResolvers<never>();
  stopped.promise.catch(() => {});
  let first: number | undefined;
  const stop = (): void => {
    first ??= Date.now();
    if (Date.now() - first > sameMs) process.exit(130);
    controller.abort();
    stopped.reject(new Error('interrupted'));
  };
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, stop);
  // npm passes a SIGTERM on to its shell, which ends without a word to us.
  const { ppid } = process;
  if (process.env['npm_lifecycle_event'] !== undefined) {
    const timer = setInterval(() => {
      if (process.ppid === ppid) return;
      clearInterval(timer);
      stop();
    }, 500);
    timer.unref();
  }
  // A terminal that was closed takes no more text; everything has to be stopped all the same.
  process.stdout.on('error', () => controller.signal.aborted || stop());
  return { signal: controller.signal, or: (promise) => Promise.race([promise, stopped.promise]) };
}
