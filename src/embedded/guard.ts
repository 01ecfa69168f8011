// A small process that stands between us and one server (PostgreSQL, Temporal): it runs the server as its child and
// stops it when its own stdin ends. Stdin ends however we end, also by SIGKILL, so no server outlives us. It is
// started in a session of its own, where Ctrl-C of a terminal does not reach: we stop first, then the servers.
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, renameSync, rmSync } from 'node:fs';
import type { GuardEvent, GuardJob, ServerCommand } from './supervise.ts';

const job = JSON.parse(process.argv[2] ?? '{}') as GuardJob;
let current: ReturnType<typeof spawn> | undefined;
let stopping = false;

// Nobody reads any more when the parent is gone; that must not keep us from stopping the server.
process.stdout.on('error', () => {});
process.stderr.on('error', () => {});

const tell = (event: GuardEvent, then?: () => void): void =>
  void process.stdout.write(`${JSON.stringify(event)}\n`, then);

function stop(): void {
  if (stopping) return;
  stopping = true;
  current?.kill(job.stopSignal);
  setTimeout(() => current?.kill('SIGKILL'), job.graceMs);
}

/** Output goes to a file and not through us: a parent that is frozen and reads nothing must never block the server. */
function run(what: ServerCommand, started?: (pid: number) => void): Promise<string> {
  const log = openSync(job.logFile, 'a');
  const child = spawn(what.command, what.args, {
    stdio: ['ignore', log, log],
    cwd: what.cwd,
    env: { ...process.env, ...what.env },
    ...(what.uid === undefined ? {} : { uid: what.uid }),
    ...(what.gid === undefined ? {} : { gid: what.gid }),
  });
  closeSync(log);
  current = child;
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('spawn', () => started?.(child.pid ?? 0));
    child.once('exit', (code, signal) => {
      current = undefined;
      resolve(signal === null ? `exit code ${code}` : `signal ${signal}`);
    });
  });
}

/**
 * What the server said last, since the log may be removed with everything else; and an error before that, since a server
 * written in Go says it above a long stack.
 */
function logTail(): string {
  try {
    const lines = readFileSync(job.logFile, 'utf8').trimEnd().split('\n').slice(-200);
    const errors = lines.slice(0, -8).filter((line) => /"level":"(?:ERROR|FATAL)"|^panic:/.test(line));
    return [...errors.slice(-2), ...lines.slice(-8)].join('\n');
  } catch {
    return '';
  }
}

process.stdin.on('end', stop).on('error', stop).resume();
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, stop);

let reason = 'exit code 0';
if (job.prepare !== undefined) {
  reason = await run(job.prepare.run);
  try {
    if (reason === 'exit code 0' && !stopping) renameSync(job.prepare.rename.from, job.prepare.rename.to);
  } catch (error) {
    reason = error instanceof Error ? error.message : 'its data could not be moved into place';
  }
}
if (reason === 'exit code 0' && !stopping) {
  reason = await run(job.server, (pid) => tell({ event: 'started', pid }));
}
const log = stopping ? '' : logTail();
for (const path of job.removeAtEnd) rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
tell({ event: 'ended', reason, log }, () => process.exit(0));
