import { spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** One command line, run as `uid`/`gid` when given (root only). */
export type ServerCommand = {
  command: string;
  args: string[];
  cwd: string;
  env?: Record<string, string>;
  uid?: number;
  gid?: number;
};

/** What a guard runs, and how it ends it. */
export type GuardJob = {
  server: ServerCommand;
  /** Runs before the server. The rename makes its result appear whole or not at all. */
  prepare?: { run: ServerCommand; rename: { from: string; to: string } };
  stopSignal: NodeJS.Signals;
  /** After this long without an end: SIGKILL. */
  graceMs: number;
  logFile: string;
  removeAtEnd: string[];
};

/** What a guard says, one JSON line each. `log`: the server's last lines, unless its end was asked for. */
export type GuardEvent = { event: 'started'; pid: number } | { event: 'ended'; reason: string; log: string };

/** Why a server is gone. */
export type Ending = { reason: string; log: string };

/** A server that runs under a guard. */
export type Supervised = {
  /** The server's process. */
  pid: number;
  guardPid: number;
  /** Settles (never rejects) when server and guard are gone. */
  ended: Promise<Ending>;
  /** Hears of an end that nobody asked for, once. */
  onLost(listener: (reason: string) => void): void;
  /** Stops the server and waits until it is gone and its temporary files are removed. Safe to call twice. */
  stop(): Promise<void>;
};

/** A server that ended before it was ready. */
export class StartError extends Error {
  readonly log: string;
  constructor(name: string, ending: Ending) {
    super(explain(`${name} did not start`, ending));
    this.name = 'StartError';
    this.log = ending.log;
  }
}

const explain = (what: string, { reason, log }: Ending): string =>
  `${what}: ${reason}${log === '' ? '' : `\n${log.replaceAll(/^/gm, '  ')}`}`;

const guardFile = fileURLToPath(new URL('./guard.ts', import.meta.url));

/**
 * Starts a server under a guard and resolves once its process exists (which does not mean that it answers).
 * `name` is for errors.
 */
export async function supervise(name: string, job: GuardJob): Promise<Supervised> {
  const guard = spawn(process.execPath, [guardFile, JSON.stringify(job)], {
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
    // Options for this process (inspectors, loaders, test runners) are not meant for the guard.
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  let complaint = '';
  guard.stderr.on('data', (chunk: Buffer) => (complaint = (complaint + chunk.toString()).slice(-2_000)));
  guard.stdin.on('error', () => {});

  let serverPid: number | undefined;
  let told: Ending | undefined;
  let isStarted: () => void = () => {};
  const started = new Promise<undefined>((resolve) => (isStarted = () => resolve(undefined)));
  createInterface({ input: guard.stdout }).on('line', (line) => {
    const event = JSON.parse(line) as GuardEvent;
    if (event.event === 'ended') {
      told = event;
    } else {
      serverPid = event.pid;
      isStarted();
    }
  });

  const ended = new Promise<Ending>((resolve) => {
    const gone = (): void => resolve(told ?? { reason: 'its guard process ended', log: complaint });
    guard.once('error', (error) => resolve({ reason: `its guard process did not start: ${error.message}`, log: '' }));
    guard.once('close', () => {
      if (told !== undefined || serverPid === undefined) gone();
      else stopOrphan(serverPid, job).then(gone, gone);
    });
  });

  let asked = false;
  const stop = async (): Promise<void> => {
    asked = true;
    guard.ref();
    guard.stdin.end();
    await ended;
  };
  const onLost = (listener: (reason: string) => void): void =>
    void ended.then((ending) => {
      if (!asked) listener(explain(`${name} ended`, ending));
    });

  const early = await Promise.race([started, ended]);
  if (early !== undefined || serverPid === undefined) throw new StartError(name, early ?? (await ended));

  // A program that forgets to stop may still end; the guard notices and stops the server.
  guard.unref();
  for (const stream of guard.stdio) if (stream instanceof Socket) stream.unref();
  return { pid: serverPid, guardPid: guard.pid ?? 0, ended, onLost, stop };
}

/** The guard was killed, so its work is ours: stop the server that it left behind. */
async function stopOrphan(pid: number, job: GuardJob): Promise<void> {
  const deadline = Date.now() + job.graceMs;
  let alive = signal(pid, job.stopSignal);
  while (alive && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    alive = signal(pid, 0);
  }
  signal(pid, 'SIGKILL');
  for (const path of job.removeAtEnd) await rm(path, { recursive: true, force: true, maxRetries: 5 });
}

/** False when there is no such process. */
function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}
