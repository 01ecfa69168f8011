import { ApplicationFailure } from '@temporalio/common';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { answer, cut } from '../../sim/buildkite/faults.ts';
import { ProviderError } from '../../src/providers/errors.ts';
import type { Limiter } from '../../src/providers/provider.ts';
import { openLog } from '../../src/store/logs.ts';
import type { AttemptKey } from '../../src/store/builds.ts';
import { watchLog } from '../../src/store/watchers.ts';
import { type Custody, custody, entriesOf, readable } from '../support/custody.ts';
import { mortal } from '../support/mortal.ts';

let world: Custody & { close(): Promise<void> };
beforeAll(async () => {
  world = await custody({ shared: true });
});
afterAll(() => world.close());

const oneJob = [{ name: 'Build', key: 'build', command: 'make' }];

/** A build of one job that runs, and has written this by its own clock. */
async function running(log = '') {
  const { key, build } = await world.build(oneJob);
  world.ci.advance(build.id, 'running');
  world.ci.replaceLog(build.id, 'build', log);
  return { key, id: build.id };
}

/** The same, ended. */
async function ended(log: string) {
  const made = await running(log);
  world.ci.finish(made.id, 'passed');
  return made;
}

const log = async (key: AttemptKey): Promise<string[]> => readable(await entriesOf(world.sql, key));
const stateOf = (key: AttemptKey) => openLog(world.sql, key);
const at = (ms: number, text: string): string => `\x1b_bk;t=${ms}\x07${text}\r\n`;

const failureOf = async (work: Promise<unknown>): Promise<ApplicationFailure> => {
  const error: unknown = await work.then(
    () => undefined,
    (failure: unknown) => failure,
  );
  if (error instanceof ApplicationFailure) return error;
  throw new Error(`it did not fail as activities do: ${String(error)}`, { cause: error });
};

describe('the whole log of a build', () => {
  test('has a step for what the CI runs, and one for each group', async () => {
    const text =
      at(1_700_000_000_000, '~~~ Preparing') +
      at(1_700_000_000_500, 'cloning') +
      at(1_700_000_001_000, '--- :hammer: Compiling') +
      at(1_700_000_002_250, '\x1b[32mok\x1b[0m') +
      'without a time\r\n';
    const { key } = await ended(text);
    await world.bring({ ...key, ended: 0 });

    expect(await log(key)).toEqual([
      '> Build',
      '< Build',
      '> Preparing',
      'cloning',
      '< Preparing',
      '> :hammer: Compiling',
      '\x1b[32mok\x1b[0m',
      'without a time',
      '< :hammer: Compiling',
    ]);
    const entries = await entriesOf(world.sql, key);
    expect(entries[0]).toMatchObject({ step_kind: 1, step_command: 'make' });
    expect(entries[2]).not.toHaveProperty('step_kind');
    expect(entries[5]).toMatchObject({ step_kind: 1, time: '2023-11-14T22:13:21.000000000Z' });
    expect(entries[6]?.time).toBe('2023-11-14T22:13:22.250000000Z');
    expect(entries[7]?.time).toBe('2023-11-14T22:13:22.250000000Z');
    expect(await stateOf(key)).toMatchObject({ complete: 0, steps: 3, entries: 9 });
  });

  test('says of several steps to which of them a group belongs, and what became of those without a log', async () => {
    const { key, build } = await world.build([
      { name: 'Lint', key: 'lint' },
      { type: 'waiter', name: 'wait' },
      { name: 'Test', key: 'test' },
      { name: 'Deploy', key: 'deploy' },
    ]);
    world.ci.moveJob(build.id, 'lint', 'running');
    world.ci.moveJob(build.id, 'test', 'running');
    world.ci.replaceLog(build.id, 'lint', at(1, '--- Lint it') + at(2, 'clean'));
    world.ci.replaceLog(build.id, 'test', at(3, 'no group'));
    world.ci.finish(build.id, 'failed', {
      jobs: {
        lint: 'passed',
        test: { state: 'failed' },
        deploy: { state: 'broken', brokenReason: 'conditions_not_met' },
      },
    });
    await world.bring({ ...key, ended: 0 });
    const lines = await log(key);
    expect(lines).toEqual(
      expect.arrayContaining(['> Lint › Lint it', 'clean', '< Lint › Lint it', '> Test', 'no group', '< Test']),
    );
    expect(lines.at(-2)).toContain('did not run');
    expect(lines.at(-3)).toBe('> Deploy');
  });

  test('is brought once: a second time changes nothing, and asks the CI for nothing', async () => {
    const { key } = await ended(at(1, 'a') + at(2, 'b'));
    await world.bring({ ...key, ended: 0 });
    const before = await log(key);
    const asked = world.ci.requests.length;
    await world.bring({ ...key, ended: 0 });
    expect(await log(key)).toEqual(before);
    expect(world.ci.requests.length).toBe(asked);
  });

  test('grows when the build goes on after its end, and no step is numbered anew', async () => {
    const { key, id } = await running(at(1, 'first'));
    world.ci.finish(id, 'failed');
    await world.bring({ ...key, ended: 0 });
    const before = await log(key);
    world.ci.retryJob(id);
    world.ci.moveJob(id, 'build', 'running');
    world.ci.replaceLog(id, 'build', at(1, 'second'));
    world.ci.finish(id, 'passed');
    await world.bring({ ...key, ended: 1 });
    const after = await log(key);
    expect(after.slice(0, before.length)).toEqual(before);
    expect(after.slice(before.length)).toEqual(['> Build (retry 1)', 'second', '< Build (retry 1)']);
    expect(await stateOf(key)).toMatchObject({ complete: 1 });
  });

  test('of a job that wrote nothing has its step; of a build without jobs it is one sentence', async () => {
    const silent = await ended('');
    world.ci.replaceLog(silent.id, 'build', '');
    await world.bring({ ...silent.key, ended: 0 });
    expect(await log(silent.key)).toEqual(['> Build', '< Build']);

    const { key, build } = await world.build([]);
    world.ci.finish(build.id, 'canceled');
    await world.bring({ ...key, ended: 0 });
    expect(await log(key)).toEqual(['> Log', 'This build has no log.', '< Log']);
    expect(await stateOf(key)).toMatchObject({ complete: 0 });
  });

  test('holds no text that can harm: NUL, half characters, control codes, and a line of 1 MB is cut and says so', async () => {
    const bytes = Buffer.concat([
      Buffer.from('a\0b\x1b[2Jc\x1b]0;title\x07d\r\n'),
      Buffer.from([0xff, 0xfe, 0x80, 0x0a]),
      Buffer.from('x'.repeat(2 ** 20)),
      Buffer.from('\r\n\x1b[31'),
    ]);
    const { key, id } = await running();
    world.ci.replaceLog(id, 'build', bytes);
    world.ci.finish(id, 'passed');
    await world.bring({ ...key, ended: 0 });
    const [, first, second, long = ''] = await log(key);
    expect(first).toBe('abcd');
    expect(second).toMatch(/^\ufffd+$/);
    expect(long.length).toBeLessThan(70_000);
    expect(long).toContain('[line of 1048576 bytes cut]');
  });
});

describe('whoever dies while a log is brought', () => {
  const text = Array.from({ length: 3000 }, (_, n) =>
    n % 500 === 0
      ? at(1_700_000_000_000 + n, `--- group ${n}`)
      : at(1_700_000_000_000 + n, `line ${n} ${'-'.repeat(n % 300)}`),
  ).join('');

  /** Brings a log by processes that die, each one step later than the one before it. */
  async function byMortals(key: AttemptKey, maxLogBytes: number): Promise<number> {
    for (let steps = 1; ; steps += 1) {
      const life = mortal(world, steps);
      const done = await world.bring({ ...key, ended: 0 }, { ...life, maxLogBytes }).then(
        () => true,
        () => false,
      );
      if (done) return steps;
    }
  }

  test.each([
    ['whole', 2 ** 26],
    ['cut', 300_000],
  ])('at any moment, leaves the same entries to the next one: %s', { timeout: 120_000 }, async (_what, maxLogBytes) => {
    const undisturbed = await ended(text);
    await world.bring({ ...undisturbed.key, ended: 0 }, { maxLogBytes });
    const { key } = await ended(text);
    const deaths = await byMortals(key, maxLogBytes);
    expect(deaths).toBeGreaterThan(10);
    expect(withoutUrls(await log(key))).toEqual(withoutUrls(await log(undisturbed.key)));
  });

  test('twice at once, gives each line once, in one order', { timeout: 60_000 }, async () => {
    const { key } = await ended(text);
    await Promise.all([1, 2, 3, 4].map(() => world.bring({ ...key, ended: 0 })));
    const undisturbed = await ended(text);
    await world.bring({ ...undisturbed.key, ended: 0 });
    expect(await log(key)).toEqual(await log(undisturbed.key));
  });

  test('of a longer step the head and the tail are kept, and a line says how much is missing and where it is', async () => {
    const { key } = await ended(text);
    await world.bring({ ...key, ended: 0 }, { maxLogBytes: 100_000 });
    const lines = await log(key);
    const gap = lines.findIndex((line) => line.startsWith('[…'));
    expect(lines[gap]).toMatch(
      /^\[… \d+ KiB left out here; the whole log is at https:\/\/buildkite\.example\/acme\/app\/builds\/\d+ …\]$/,
    );
    expect(lines[1]).toBe('< Build');
    expect(lines.at(-2)).toMatch(/^line 2999 /);
    const size = lines.join('\r\n').length;
    expect(size).toBeGreaterThan(40_000);
    expect(size).toBeLessThan(110_000);
  });

  test('a log of several long steps has room for the end of each', async () => {
    const jobs = Array.from({ length: 6 }, (_, n) => ({ name: `Part ${n}`, key: `part-${n}` }));
    const { key, build } = await world.build(jobs);
    world.ci.advance(build.id, 'running');
    for (const job of jobs) world.ci.replaceLog(build.id, job.key, text);
    world.ci.finish(build.id, 'passed');
    await world.bring({ ...key, ended: 0 }, { maxLogBytes: 200_000 });
    const lines = await log(key);
    expect(lines.filter((line) => line.startsWith('line 2999 '))).toHaveLength(6);
    expect((await stateOf(key))?.bytes).toBeLessThanOrEqual(200_000);
  });
});

const withoutUrls = (lines: string[]): string[] => lines.map((line) => line.replace(/builds\/\d+/, 'builds/n'));

describe('while somebody reads', () => {
  const watch = ({ pipeline, job }: AttemptKey) => watchLog(world.sql, { pipeline, job, forMs: 60_000 });

  test('a log is followed every two seconds, and what was told stays as it was told', async () => {
    const { key, id } = await running(at(1, 'one') + 'half a li');
    await watch(key);
    const following = await failureOf(world.bring(key));
    expect(following).toMatchObject({
      type: 'Following',
      nextRetryDelay: 2000,
      nonRetryable: false,
      category: 'BENIGN',
    });
    expect(following.message).toBe('following the log of ci.yml while somebody reads it');
    const told = [await log(key)];
    expect(told[0]).toEqual(['> Build', 'one', 'open: Build']);

    world.ci.appendLog(id, 'build', 'ne\r\n' + at(3, '--- Next') + at(4, 'in it'));
    await failureOf(world.bring(key, {}));
    told.push(await log(key));
    world.ci.appendLog(id, 'build', at(5, 'last'));
    world.ci.finish(id, 'passed');
    await world.bring({ ...key, ended: 0 });
    const whole = await log(key);
    expect(whole).toEqual(['> Build', 'one', 'half a line', '< Build', '> Next', 'in it', 'last', '< Next']);
    for (const before of told) expect(whole.slice(0, before.length - 1)).toEqual(before.slice(0, -1));
  });

  test('the CI is not asked again within two seconds, however often somebody tries', async () => {
    const { key } = await running(at(1, 'one'));
    await watch(key);
    const { bring } = world.again();
    const asked = world.ci.requests.length;
    await failureOf(bring(key));
    const once = world.ci.requests.length - asked;
    for (let n = 0; n < 3; n += 1) await failureOf(bring(key));
    expect(world.ci.requests.length - asked).toBe(once);
  });

  test('what is there is brought, and then it is over, when nobody does', async () => {
    const { key } = await running(at(1, 'one'));
    await world.bring(key);
    expect(await log(key)).toEqual(['> Build', 'one', 'open: Build']);
    expect(await stateOf(key)).toMatchObject({ complete: -1 });
  });

  test('a log that was begun again at the CI says so, and goes on', async () => {
    const { key, id } = await running(at(1, 'one') + at(2, 'two'));
    await world.bring(key);
    world.ci.replaceLog(id, 'build', at(3, 'anew'));
    world.ci.finish(id, 'passed');
    await world.bring({ ...key, ended: 0 });
    expect(await log(key)).toEqual(['> Build', 'one', 'two', '[… the CI began this log again …]', 'anew', '< Build']);
  });

  test('a log that becomes too long waits for its end, of which there is always room', async () => {
    const line = (n: number): string => at(1_700_000_000_000 + n, `line ${n} `.padEnd(100, '.'));
    const many = (from: number): string => Array.from({ length: 500 }, (_, n) => line(from + n)).join('');
    const { key, id } = await running(many(0));
    const maxLogBytes = 100_000;
    await world.bring(key, { maxLogBytes });
    world.ci.appendLog(id, 'build', many(500));
    await world.bring(key, { maxLogBytes });
    world.ci.appendLog(id, 'build', many(1000));
    await world.bring(key, { maxLogBytes });
    await world.bring(key, { maxLogBytes });
    world.ci.finish(id, 'passed');
    await world.bring({ ...key, ended: 0 }, { maxLogBytes });
    const lines = await log(key);
    expect(lines.filter((text) => text.startsWith('[… this log is long'))).toHaveLength(1);
    expect(lines.at(-2)).toMatch(/^line 1499 /);
    expect((await stateOf(key))?.bytes).toBeLessThanOrEqual(maxLogBytes);
  });
});

describe('when the CI is in trouble', () => {
  test('steps that it still shows as running are waited for, and then taken as they are', async () => {
    const { key, id } = await running(at(1, 'one'));
    const whole = { ...key, ended: 0, patience: 120_000 };
    const early = await failureOf(world.bring(whole));
    expect(early).toMatchObject({ type: 'Following', nextRetryDelay: 2000, category: 'BENIGN' });
    const later = await failureOf(world.bring(whole, { triedFor: 20_000 }));
    expect(later.nextRetryDelay).toBe(20_000);
    expect(await stateOf(key)).toMatchObject({ complete: -1 });
    world.ci.appendLog(id, 'build', at(2, 'two') + 'half');
    await world.bring(whole, { triedFor: 120_000 });
    expect(await log(key)).toEqual(['> Build', 'one', 'two', 'half', '< Build']);
    expect(await stateOf(key)).toMatchObject({ complete: 0 });
  });

  test('a log that its rate lets have only little by little is had in the end, and its steps are asked for once', async () => {
    const jobs = Array.from({ length: 5 }, (_, n) => ({ name: `Job ${n}`, key: `job-${n}` }));
    const { key, build } = await world.build(jobs);
    world.ci.advance(build.id, 'running');
    for (const job of jobs) world.ci.replaceLog(build.id, job.key, at(1, job.name));
    world.ci.finish(build.id, 'passed');
    let left = 0;
    const limiter: Limiter = {
      reserve: async () => {
        left -= 1;
        return new Date(left < 0 ? Date.now() + 60_000 : 0);
      },
      block: async () => {},
    };
    const asked = world.ci.requests.length;
    let tries = 1;
    for (; ; tries += 1) {
      left = 2;
      const tried = world.bring({ ...key, ended: 0 }, { limiter });
      const failure: unknown = await tried.then(
        () => undefined,
        (error: unknown) => error,
      );
      if (failure === undefined) break;
      expect(failure).toMatchObject({ type: 'RateLimited', nonRetryable: false });
    }
    const requests = world.ci.requests.slice(asked);
    expect(requests.filter(({ route }) => route !== 'log')).toHaveLength(1);
    expect(tries).toBeGreaterThan(2);
    expect(await log(key)).toEqual(jobs.flatMap(({ name }) => [`> ${name}`, name, `< ${name}`]));
  });

  test('a step whose log breaks off or fails does not hold back the others', async () => {
    const { key, build } = await world.build([
      { name: 'Bad', key: 'bad' },
      { name: 'Good', key: 'good' },
    ]);
    world.ci.advance(build.id, 'running');
    world.ci.replaceLog(build.id, 'bad', at(1, 'bad'));
    world.ci.replaceLog(build.id, 'good', at(1, 'good'));
    world.ci.finish(build.id, 'passed');
    const bad = world.ci.build(build.id).jobs[0]?.id ?? '';
    const rule = world.ci.onRequest({ path: bad }, cut(3), 'always');
    expect(await failureOf(world.bring({ ...key, ended: 0 }))).toMatchObject({
      type: 'Transient',
      nonRetryable: false,
    });
    expect(await log(key)).toEqual(expect.arrayContaining(['> Good', 'good', '< Good']));
    rule.remove();
    await world.bring({ ...key, ended: 0 });
    const lines = await log(key);
    expect(lines.filter((line) => line === 'bad')).toHaveLength(1);
    expect(lines.filter((line) => line === 'good')).toHaveLength(1);
  });

  test('a step whose log cannot be had says so in its place', async () => {
    const { key, build } = await world.build([
      { name: 'Bad', key: 'bad' },
      { name: 'Good', key: 'good' },
    ]);
    world.ci.advance(build.id, 'running');
    world.ci.replaceLog(build.id, 'good', at(1, 'good'));
    world.ci.finish(build.id, 'passed');
    const bad = world.ci.build(build.id).jobs[0]?.id ?? '';
    world.ci.onRequest({ path: bad }, answer(422, { body: { message: 'Odd' } }), 'always');
    await world.bring({ ...key, ended: 0 });
    const lines = await log(key);
    expect(lines[0]).toBe('> Bad');
    expect(lines[1]).toMatch(/^\[… the rest of this step could not be fetched: .*Odd.* …\]$/);
    expect(lines.slice(2)).toEqual(['< Bad', '> Good', 'good', '< Good']);
    expect(await stateOf(key)).toMatchObject({ complete: 0 });
  });

  test('a token that is refused is not retried; what is open is closed, the reason is told, and it is had later after all', async () => {
    const { key, id } = await running(at(1, 'one'));
    await world.bring(key);
    world.ci.appendLog(id, 'build', at(2, 'two'));
    world.ci.finish(id, 'passed');
    world.ci.onRequest(
      { route: ['get', 'jobs', 'log'] },
      answer(401, { body: { message: 'Authentication required' } }),
      3,
    );
    const refused = await failureOf(world.bring({ ...key, ended: 0 }));
    world.ci.clearFaults();
    expect(refused).toMatchObject({ type: 'CredentialsRejected', nonRetryable: true });

    const gaveUp = { ...key, ended: 0, gaveUp: refused.message };
    await world.bring(gaveUp);
    await world.bring(gaveUp);
    const lines = await log(key);
    expect(lines.slice(0, 4)).toEqual(['> Build', 'one', '< Build', '> Log']);
    expect(lines[4]).toBe(`The log could not be fetched: ${refused.message}`);
    expect(lines[5]).toMatch(/^The build is at https:/);
    expect(lines).toHaveLength(7);
    expect(await stateOf(key)).toMatchObject({ complete: 0 });

    await world.bring({ ...key, ended: 1 });
    expect((await log(key)).slice(7)).toEqual(['> Build', 'two', '< Build']);
  });

  test('a CI that this spindle does not know any more is a reason for people', async () => {
    const { key } = await ended(at(1, 'one'));
    await world.sql`update builds set provider = 'gone' where pipeline = ${key.pipeline}`;
    expect(await failureOf(world.bring({ ...key, ended: 0 }))).toMatchObject({
      type: 'TargetMissing',
      nonRetryable: true,
    });
  });

  test('a log that was removed takes nothing in, and is over', async () => {
    const { key } = await running(at(1, 'one'));
    await world.bring(key);
    await world.sql`update logs set removed_at = now() where pipeline = ${key.pipeline}`;
    await world.bring({ ...key, ended: 0 });
    expect(await log(key)).toEqual(['> Build', 'one', 'open: Build']);
    expect(await stateOf(key)).toMatchObject({ complete: 0, removed: true });
  });
});

test('errors of a provider are what they were in the other activities', async () => {
  const { key } = await ended('');
  const provider = { ...world.provider(), steps: () => Promise.reject(new ProviderError('Forbidden', 'No.')) };
  expect(await failureOf(world.bring({ ...key, ended: 0 }, { provider }))).toMatchObject({
    type: 'Forbidden',
    nonRetryable: true,
  });
});
