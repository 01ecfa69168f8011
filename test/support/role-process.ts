import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { inject, onTestFinished } from 'vitest';

export interface RoleProcess {
  readonly child: ChildProcess;
  /** What it logged, parsed. */
  readonly log: Record<string, unknown>[];
  signal(name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT' | 'SIGTERM' | 'SIGINT'): void;
  exited(): Promise<number | null>;
}

export interface RoleProcessOptions {
  /** The tree that is run. Default: this one. */
  root?: string;
  onExit?(): void;
  /** Hides what Temporal's SDK prints on standard output, as it does of whoever is killed. */
  quiet?: boolean;
  /** Takes what it logs, for who looks before it is ready. */
  log?: Record<string, unknown>[];
}

/** Starts a role as an operator does, as a process of its own. It is killed at the end of the test at the latest. */
export async function startRoleProcess(
  role: 'ingest' | 'worker' | 'server' | 'up',
  env: Record<string, string>,
  { root = path.join(import.meta.dirname, '../..'), onExit, quiet = false, log = [] }: RoleProcessOptions = {},
): Promise<RoleProcess> {
  const main = path.join(root, 'src/main.ts');
  const child = spawn(process.execPath, [main, role], {
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      WHORL_HOSTNAME: 'spindle.example',
      WHORL_OWNER_DID: 'did:web:owner.example',
      WHORL_DEV: 'true',
      // no test dials the internet
      WHORL_JETSTREAM_URL: 'off',
      WHORL_LOG_FORMAT: 'json',
      WHORL_LISTEN_ADDR: '127.0.0.1:0',
      WHORL_WEBHOOK_ADDR: '127.0.0.1:0',
      WHORL_HEALTH_ADDR: '127.0.0.1:0',
      TEMPORAL_ADDRESS: inject('temporalAddress'),
      ...env,
    },
    stdio: ['ignore', quiet ? 'ignore' : 'inherit', 'pipe'],
  });
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  const ready = Promise.withResolvers<void>();
  const exit = once(child, 'exit');
  void exit.then(() => onExit?.());
  if (!child.stderr) throw new Error('no pipe to the child');
  createInterface({ input: child.stderr }).on('line', (line) => {
    log.push(parsed(line));
    if (line.includes(`"msg":"${role} is ready"`) || line.includes('"msg":"whorl is up"')) ready.resolve();
  });
  void exit.then(() => ready.reject(new Error(`${role} ended before it was ready: ${JSON.stringify(log.slice(-5))}`)));
  await ready.promise;
  return {
    child,
    log,
    signal: (name) => void child.kill(name),
    exited: async () => {
      await exit;
      return child.exitCode;
    },
  };
}

function parsed(line: string): Record<string, unknown> {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return { msg: line };
  }
}
