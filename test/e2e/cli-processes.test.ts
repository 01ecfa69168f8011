import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { commandLine, plannedPipeline, told } from '../support/cli.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';

const root = path.join(import.meta.dirname, '../..');
const main = path.join(root, 'src/main.ts');
const node = process.execPath;

// Starting a process takes seconds on a busy machine.
vi.setConfig({ testTimeout: 90_000 });

let db: FreshDatabase;
beforeAll(async () => void (db = await freshDatabase()));
afterAll(() => db.drop());

const environment = (more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({
  PATH: process.env['PATH'],
  WHORL_DATABASE_URL: db.url,
  TERM: 'xterm',
  ...more,
});

interface Ran {
  child: ChildProcess;
  out: () => string;
  err: () => string;
  code: Promise<number | null>;
}
function start(command: string, args: string[], env = environment()): Ran {
  const child = spawn(command, args, { cwd: root, env, stdio: ['pipe', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout.on('data', (data) => void (out += String(data)));
  child.stderr.on('data', (data) => void (err += String(data)));
  const code = once(child, 'close').then(([status]) => status as number | null);
  return { child, out: () => out, err: () => err, code };
}
const whorl = (line: string, env?: NodeJS.ProcessEnv): Ran => start(node, [main, ...line.split(' ')], env);
/** In a shell, with `whorl` as a command of its own. */
const inShell = (script: string): Ran =>
  start('bash', ['--norc', '-c', `whorl() { "${node}" "${main}" "$@"; }\n${script}`]);
/** On a terminal of 80 columns; what is typed goes to its input. */
const onTerminal = (line: string): Ran =>
  start('script', ['-qefc', `stty cols 80 rows 24; exec "${node}" "${main}" ${line}`, '/dev/null']);

// oxlint-disable-next-line no-control-regex -- the codes of the terminal are what it is about
const withoutCodes = (text: string): string => text.replaceAll(/\u001b\[[?\d]*[A-Za-z]/g, '');

/** A way to the database that can be cut. */
async function linkTo(databaseUrl: string) {
  const url = new URL(databaseUrl);
  const { port, hostname: host } = url;
  const open = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(Number(port), host);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one);
      one.on('error', () => {}).on('close', () => other.destroy());
      one.pipe(other);
    }
  });
  const listenOn = async (on: number): Promise<void> => {
    server.listen(on, '127.0.0.1');
    await once(server, 'listening');
  };
  await listenOn(0);
  const own = (server.address() as AddressInfo).port;
  const cut = async (): Promise<void> => {
    const closed = once(server, 'close');
    server.close();
    for (const socket of open) socket.destroy();
    await closed;
  };
  onTestFinished(async () => void (server.listening && (await cut())));
  return { url: Object.assign(url, { host: `127.0.0.1:${own}` }).href, cut, mend: () => listenOn(own) };
}

describe('exit codes', () => {
  test('a mistyped command suggests the nearest, and nothing is printed', async () => {
    const { code, out, err } = whorl('pipelnes');
    expect([await code, out()]).toEqual([2, '']);
    expect(err()).toMatch(/^whorl: unknown command 'pipelnes' \(Did you mean pipelines\?\)\n$/);
  });

  test('a database that is away is 1 and one sentence', async () => {
    const env = environment({ WHORL_DATABASE_URL: 'postgres://whorl:hunter2@127.0.0.1:1/whorl' });
    const started = ['pipelines', 'watch', 'knots', 'deliveries', 'export'].map((line) => whorl(line, env));
    for (const { child, code, out, err } of started) {
      expect([child.spawnargs, await code, out()]).toEqual([child.spawnargs, 1, '']);
      expect(err()).toMatch(/^whorl: the database \S+ does not answer \([^\n]+\n$/);
      expect(err()).not.toContain('hunter2');
    }
  });

  test('a reader who has had enough is no error', async () => {
    await db.sql`
      insert into triggers (knot, nsid, rkey, share, state)
      select 'pipe.example', 'sh.tangled.pipeline', n, 0, 'ended' from generate_series(1, 20000) n`;
    const { code, out, err } = inShell('whorl export | head -n 2; echo "${PIPESTATUS[0]}"');
    expect(await code).toBe(0);
    expect(err()).toBe('');
    const lines = out().trim().split('\n');
    expect([lines.length, lines[2]]).toEqual([3, '0']);
  });
});

test('an export of any length takes the same memory', async () => {
  await db.sql`
    insert into triggers (knot, nsid, rkey, share, state, reason)
    select 'memory.example', 'sh.tangled.pipeline', n, 0, 'refused', repeat('because ', 150) from generate_series(1, 90000) n`;
  const { code, out, err } = inShell('export NODE_OPTIONS=--max-old-space-size=96; whorl export | wc -lc');
  expect([await code, err()]).toEqual([0, '']);
  const [lines = 0, bytes = 0] = out().trim().split(/\s+/).map(Number);
  expect(lines).toBeGreaterThanOrEqual(90_000);
  expect(bytes).toBeGreaterThan(64 * 1024 * 1024);
});

test('help and looking at a pipeline load nothing of Temporal', async () => {
  const id = await plannedPipeline(db.sql);
  const hooks = `data:text/javascript,${encodeURIComponent(`
    import { registerHooks } from 'node:module';
    registerHooks({ resolve(name, context, next) {
      if (name.startsWith('@temporalio/')) throw new Error('loads ' + name);
      return next(name, context);
    } });`)}`;
  const lines = ['--help', `show ${id}`, 'pipelines', 'knots', 'deliveries', 'export --since 1h', 'why --help'];
  const started = lines.map((line) => ({ line, ...start(node, ['--import', hooks, main, ...line.split(' ')]) }));
  for (const { line, code, err } of started) expect([line, await code, err()]).toEqual([line, 0, '']);
});

describe('whorl watch', () => {
  test('into a pipe prints a line for each change, woken by it, and ends green with 0', async () => {
    const id = await plannedPipeline(db.sql, { jobs: ['a.yml', 'b.yml'] });
    const { code, out, err } = whorl(`watch ${id}`);
    await until('both jobs are shown', () => /a\.yml {2}pending[^]*b\.yml {2}pending/.test(out()));
    await told(db.sql, id, { job: 'a.yml', status: 'running' });
    await until('the change is shown', () => out().includes('a.yml  running'));
    await told(db.sql, id, { job: 'b.yml', status: 'success' });
    await told(db.sql, id, { job: 'a.yml', status: 'success' });
    expect([await code, err()]).toEqual([0, '']);
    expect(out()).toMatch(/a\.yml {2}success/);
    expect(out()).not.toContain('\u001b');
    expect(out().split('a.yml  running')).toHaveLength(2);
  });

  test('ends red with 1, and says what', async () => {
    const id = await plannedPipeline(db.sql);
    await told(db.sql, id, { status: 'failed', error: 'exit code 3' });
    const { code, out, err } = whorl(`watch ${id} --json`);
    expect([await code, err()]).toEqual([1, `whorl: ${id} is failed\n`]);
    expect(JSON.parse(out())).toMatchObject({ pipeline: id, job: 'ci.yml', status: 'failed', error: 'exit code 3' });
  });

  test('of a trigger that was refused ends with the reason', async () => {
    await db.sql`
      insert into triggers (knot, nsid, rkey, share, state, reason)
      values ('knot.example', 'sh.tangled.pipeline', 'refused1', 0, 'refused', 'nobody serves it')`;
    const { code, err } = whorl('watch knot.example/refused1');
    expect(await code).toBe(1);
    expect(err()).toBe('whorl: pipeline/knot.example/refused1 was refused: nobody serves it\n');
  });

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s ends it at once, without a word, with %i', async (signal, expected) => {
    const id = await plannedPipeline(db.sql);
    const { child, code, out, err } = whorl(`watch ${id}`);
    await until('it watches', () => out().includes('pending'));
    child.kill(signal);
    expect([await code, err()]).toEqual([expected, '']);
  });

  test('on a terminal is drawn in place, and Ctrl-C brings the cursor back', async () => {
    const id = await plannedPipeline(db.sql, { branch: `long-${'x'.repeat(100)}` });
    const { child, code, out } = onTerminal(`watch ${id}`);
    await until('it is drawn', () => out().includes('ci.yml'));
    expect(out()).toContain('\u001b[?25l');
    await told(db.sql, id, { status: 'running' });
    await until('it is drawn over', () => out().includes('running'));
    expect(out()).toContain('\u001b[3F');
    child.stdin?.write('\u0003');
    expect(await code).toBe(130);
    expect(out().lastIndexOf('\u001b[?25h')).toBeGreaterThan(out().lastIndexOf('\u001b[?25l'));
    const lines = withoutCodes(out()).split(/\r?\n/);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(80);
  });

  test('on a terminal the end stays to be read', async () => {
    const id = await plannedPipeline(db.sql);
    await told(db.sql, id, { status: 'success' });
    const { code, out } = onTerminal(`watch ${id}`);
    expect(await code).toBe(0);
    expect(out()).toContain('\u001b[32msuccess\u001b[0m');
    expect(out().endsWith('\u001b[?25h')).toBe(true);
  });

  test('is not stuck when a notice is lost, and goes on when the database was away', async () => {
    const id = await plannedPipeline(db.sql);
    const link = await linkTo(db.url);
    const { code, out, err } = whorl(`watch ${id}`, environment({ WHORL_DATABASE_URL: link.url }));
    await until('it watches', () => out().includes('pending'));
    await link.cut();
    await until('it says so', () => out().includes('The database does not answer; trying again.'));
    await link.mend();
    await db.sql`update jobs set status = 'success', rank = 2 where pipeline = ${id}`;
    expect([await code, err()]).toEqual([0, '']);
  });
});

describe('completion', () => {
  /** What bash offers for lines that are typed so far, each with its last word unfinished. */
  async function offered(lines: string[][]): Promise<string[][]> {
    const each = lines.map(
      (words) => `
      COMP_WORDS=(whorl ${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length}
      $(complete -p whorl | sed 's/.*-F \\([^ ]*\\).*/\\1/')
      echo "\${COMPREPLY[*]}"`,
    );
    const { code, out, err } = inShell(`source <(whorl completion bash)\n${each.join('\n')}`);
    expect([await code, err()]).toEqual([0, '']);
    return out()
      .replace(/\n$/, '')
      .split('\n')
      .map((line) => line.split(' ').toSorted());
  }

  test('of a real bash knows commands, below them too, options and their choices', async () => {
    const expected: [words: string[], offered: string[]][] = [
      [['pip'], ['pipelines']],
      [['rer'], ['rerun']],
      [['repos', 'u'], ['unpin']],
      [['pipelines', '--st'], ['--state']],
      [['pipelines', '--state', 'pa'], ['parked']],
      [['pipelines', '--state', 'parked', '--l'], ['--limit']],
      [['cancel', '--by', 'repos', '--no'], ['--no-wait']],
      [
        ['completion', ''],
        ['bash', 'fish', 'zsh'],
      ],
      [['show', 'x'], ['']],
      [['config', '--for', 'w'], ['worker']],
    ];
    expect(await offered(expected.map(([words]) => words))).toEqual(expected.map(([, words]) => words));
  });

  test.each(['bash', 'zsh', 'fish'])('for %s holds every command and no code of a terminal', async (shell) => {
    const { code, out } = await commandLine(() => db.url)(`completion ${shell}`);
    expect(code).toBe(0);
    for (const word of ['pipelines', 'repos', 'unpin', 'state', 'older-than', 'parked']) expect(out).toContain(word);
    expect(out).not.toMatch(/[^\P{Cc}\n]/u);
  });
});
