import { execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { accepts } from '../../src/embedded/ports.ts';

const main = fileURLToPath(new URL('../../demo/main.ts', import.meta.url));
const whorl = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** The demo as a process of its own, in a folder for temporary files of its own. */
async function demo(...args: string[]) {
  const folder = await mkdtemp(path.join(tmpdir(), 'whorl-test-'));
  // PostgreSQL may run as another user.
  await chmod(folder, 0o755);
  const mark = randomUUID();
  const child = spawn(process.execPath, [main, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_OPTIONS: '', TMPDIR: folder, MARK_OF_THE_TEST: mark },
  });
  let output = '';
  const seen = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += String(chunk);
      for (const look of seen) look();
    });
  }
  const ended = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)));
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await ended;
    await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  });
  return {
    ended,
    output: () => output,
    kill: (signal: NodeJS.Signals) => child.kill(signal),
    prints: (text: string): Promise<void> =>
      new Promise((resolve) => {
        const look = (): void => void (output.includes(text) && resolve());
        seen.add(look);
        look();
      }),
    /** What the demo has left: open ports that it named, files, and (on Linux) processes. */
    async left(): Promise<string[]> {
      const ports = [...new Set([...output.matchAll(/127\.0\.0\.1:(\d+)/g)].map(([, port]) => Number(port)))];
      const open = await Promise.all(ports.map(async (port) => ((await accepts(port)) ? [`port ${port}`] : [])));
      return [...open.flat(), ...(await readdir(folder)), ...(await processesWith(mark))];
    },
  };
}

async function processesWith(mark: string): Promise<string[]> {
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name));
  const marked = await Promise.all(
    pids.map(async (pid) => {
      const environ = await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '');
      return environ.includes(mark) ? [`process ${pid}`] : [];
    }),
  );
  return marked.flat();
}

test(
  'demo --once begins with empty tables, pushes, goes green, reads the log, says so in its last line, and leaves nothing behind',
  { timeout: 90_000 },
  async () => {
    const run = await demo('--once');
    const code = await run.ended;
    const last = run.output().trimEnd().split('\n').at(-1) ?? '';
    expect({ code, output: run.output() }).toMatchObject({ code: 0 });
    expect(JSON.parse(last)).toEqual({
      pipeline: expect.stringMatching(/^pipeline\/127\.0\.0\.1:\d+\/[2-7a-z]{13}$/),
      status: 'success',
      jobs: { 'ci.yml': 'success', 'lint.yml': 'success' },
      ms: expect.any(Number),
      log: {
        url: expect.stringMatching(/^ws:\/\/127\.0\.0\.1:\d+\/logs\/127\.0\.0\.1:\d+\/[2-7a-z]{13}\/ci\.yml$/),
        lines: expect.any(Number),
      },
    });
    expect((JSON.parse(last) as { log: { lines: number } }).log.lines).toBeGreaterThan(5);
    expect(run.output()).toMatch(
      /an appview verifies it[^]+invited: [^]+; Whorl knows[^]+chosen: [^]+; Whorl knows[^]+connected: [^]+push main/,
    );
    expect(run.output()).toMatch(/the log of ci\.yml +\d+ lines[^]+4 passed, 0 failed\n/);
    expect(run.output()).toMatch(/Temporal UI +http:\/\/127\.0\.0\.1:\d+\/namespaces\/default\/workflows\/pipeline%2F/);
    expect(run.output()).not.toContain('the appview complains');
    expect(await run.left()).toEqual([]);
  },
);

test(
  'the demo that is stopped while it starts ends quietly, and leaves nothing behind',
  { timeout: 60_000 },
  async () => {
    const run = await demo();
    await run.prints('Temporal on');
    run.kill('SIGINT');
    // npm passes on what the terminal has told already.
    run.kill('SIGINT');
    expect({ code: await run.ended, output: run.output() }).toEqual({
      code: 0,
      output: expect.not.stringContaining('Error'),
    });
    expect(run.output()).not.toMatch(/^ +at /m);
    expect(await run.left()).toEqual([]);
  },
);

test(
  'while the demo runs, whorl logs shows the log of its push by the command that it prints',
  { timeout: 120_000 },
  async () => {
    const run = await demo();
    await run.prints('Enter pushes again');
    const [, dir = '', args = ''] = /WHORL_DATA_DIR=(\S+) npx node src\/main\.ts (logs \S+)\n/.exec(run.output()) ?? [];
    const { PATH, HOME } = process.env;
    const env = { PATH, HOME, WHORL_DATA_DIR: dir };
    const { stdout } = await promisify(execFile)(process.execPath, [whorl, ...args.split(' ')], { env });
    expect(stdout).toMatch(/^##### ci\.yml, attempt 1\n[^]+4 passed, 0 failed\n##### lint\.yml, attempt 1\n/);
    run.kill('SIGINT');
    expect(await run.ended).toBe(0);
    expect(await run.left()).toEqual([]);
  },
);
