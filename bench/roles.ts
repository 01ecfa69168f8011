import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';

/** A role of Whorl in a process of its own, as operators run it. */
export interface RoleUnderTest {
  name: string;
  /** What it serves, by name. */
  links: Record<string, string>;
  pid: number;
  stop(): Promise<void>;
}

/** What each role needs to know; the rest is as in production. */
export const settings = (databaseUrl: string): Record<string, string> => ({
  WHORL_HOSTNAME: 'spindle.example',
  WHORL_OWNER_DID: 'did:web:owner.example',
  WHORL_DEV: 'true',
  WHORL_LOG_FORMAT: 'json',
  WHORL_JETSTREAM_URL: 'off',
  WHORL_DATABASE_URL: databaseUrl,
  WHORL_LISTEN_ADDR: '127.0.0.1:0',
  WHORL_WEBHOOK_ADDR: '127.0.0.1:0',
  WHORL_HEALTH_ADDR: '127.0.0.1:0',
  // as the image has them
  NODE_OPTIONS: '--max-semi-space-size=8 --max-old-space-size=256',
  MALLOC_ARENA_MAX: '2',
  NODE_COMPILE_CACHE: path.join(import.meta.dirname, '../node_modules/.cache/whorl'),
});

/** @param profileDir where it leaves a CPU profile of each thread when it ends */
export async function startRole(
  role: string,
  env: Record<string, string>,
  profileDir?: string,
): Promise<RoleUnderTest> {
  const main = path.join(import.meta.dirname, '../src/main.ts');
  const { PATH, HOME } = process.env;
  const profiling = profileDir === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${path.join(profileDir, role)}`];
  const child = spawn(process.execPath, [...profiling, main, role], {
    env: { ...env, PATH, HOME },
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  endWithUs(child);
  const ready = Promise.withResolvers<Record<string, string>>();
  if (!child.stderr || child.pid === undefined) throw new Error(`${role} could not be started`);
  createInterface({ input: child.stderr }).on('line', (text) => {
    // What is no log line is an error of the start, or a warning of Node's.
    const line = JSON.parse(text.startsWith('{') ? text : '{"level":50}') as Record<string, string> & { level: number };
    if (line['msg'] === `${role} is ready`) ready.resolve(line);
    else if (line.level >= 40) process.stderr.write(`${role}: ${text}\n`);
  });
  const ended = once(child, 'exit');
  void ended.then(() => ready.reject(new Error(`${role} ended`)));
  return {
    name: role,
    links: await ready.promise,
    pid: child.pid,
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

const children = new Set<ChildProcess>();
process.once('exit', () => children.forEach((child) => child.kill('SIGKILL')));

/** A child of a bench that was interrupted goes too. */
export function endWithUs(child: ChildProcess): void {
  children.add(child);
  child.once('exit', () => children.delete(child));
}

/** What a process holds of the machine's memory, in MB. NaN where the system does not tell in /proc. */
export async function memoryOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/VmRSS:\s+(\d+) kB/.exec(text)?.[1] ?? Number.NaN) / 1024;
}
