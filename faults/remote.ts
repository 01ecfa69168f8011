import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { Remote } from './contract.ts';

type Handlers = Record<string, (...args: never[]) => unknown>;
type Question = { id: number; name: string; args: unknown[] };
type Answer = { id: number; value?: unknown; error?: string };

/** In a child: answers what its parent asks. The child ends with its parent. */
export function serve<H extends object>(handlers: H): void {
  const known = handlers as unknown as Record<string, (...args: unknown[]) => unknown>;
  process.on('message', ({ id, name, args }: Question) => {
    void (async () => {
      const answer: Answer = { id };
      try {
        const handler = Object.hasOwn(known, name) ? known[name] : undefined;
        if (!handler) throw new Error(`this process has no ${name}`);
        answer.value = await handler(...args);
      } catch (error) {
        answer.error = error instanceof Error ? (error.stack ?? error.message) : String(error);
      }
      if (process.connected) process.send?.(answer);
    })();
  });
  process.once('disconnect', () => process.exit(0));
  // Ctrl-C is for the parent, which ends its children itself.
  process.on('SIGINT', () => {});
}

/** A child that serves `H`, and its process. */
export interface RemoteProcess<H> {
  readonly ask: Remote<H>;
  readonly child: ChildProcess;
  end(): Promise<void>;
}

/** Starts `file` as a child and gives its handlers as functions. What is asked of a child that is gone is rejected. */
export function start<H extends object>(file: string, env: NodeJS.ProcessEnv = process.env): RemoteProcess<H> {
  const child = fork(file, { serialization: 'advanced', env });
  const open = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  let next = 0;
  child.on('message', ({ id, value, error }: Answer) => {
    const asked = open.get(id);
    open.delete(id);
    if (error === undefined) asked?.resolve(value);
    else asked?.reject(new Error(error));
  });
  const exited = once(child, 'exit');
  void exited.then(() => {
    for (const { reject } of open.values()) reject(new Error(`${file} ended`));
    open.clear();
  });
  const ask = (name: string, args: unknown[]): Promise<unknown> => {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    next += 1;
    open.set(next, { resolve, reject });
    child.send({ id: next, name, args } satisfies Question, (error) => {
      if (error) reject(error);
    });
    return promise;
  };
  const handlers: Handlers = {};
  return {
    // A proxy, because the parent does not have the child's functions, only their type. Promises ask for `then`.
    ask: new Proxy(handlers, {
      get: (_, name) => (name === 'then' ? undefined : (...args: unknown[]) => ask(String(name), args)),
    }) as unknown as Remote<H>,
    child,
    async end() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.disconnect();
      const timer = setTimeout(() => child.kill('SIGKILL'), 3_000);
      await exited;
      clearTimeout(timer);
    },
  };
}
