import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { onTestFinished } from 'vitest';
import type { BackfillOptions } from './backfill.ts';

/** What a process says of itself, now and then. */
export interface ListerReport {
  pages: number;
  records: number;
  rounds: number;
  rss: number;
}

export interface ListerProcess {
  child: ChildProcess;
  owner: string;
  reports: ListerReport[];
}

/** The same as a process of its own. It ends with the test. `heapMb`: it dies when it holds more than this. */
export function startListerProcess(
  databaseUrl: string,
  { heapMb, ...options }: BackfillOptions & { heapMb?: number },
): ListerProcess {
  const owner = options.owner ?? randomUUID();
  const heap = heapMb === undefined ? [] : [`--max-old-space-size=${heapMb}`, '--max-semi-space-size=4'];
  const child = spawn(process.execPath, [...heap, path.join(import.meta.dirname, 'backfill-process.ts')], {
    env: { ...process.env, DATABASE_URL: databaseUrl, OPTIONS: JSON.stringify({ ...options, owner }) },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  const reports: ListerReport[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => reports.push(JSON.parse(line) as ListerReport));
  return { child, owner, reports };
}
