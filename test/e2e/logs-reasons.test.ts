import { createHash } from 'node:crypto';
import { Writable } from 'node:stream';
import { MockActivityEnvironment } from '@temporalio/testing';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AttemptKey } from '../../src/store/builds.ts';
import { unpackEntries } from '../../src/store/log-chunks.ts';
import { openLog } from '../../src/store/logs.ts';
import type { StatusInput } from '../../src/workflows/contract.ts';
import { type Custody, custody, type CustodyDeps, entriesOf, quiet, readable } from '../support/custody.ts';
import { mortal } from '../support/mortal.ts';

let world: Custody & { close(): Promise<void> };
beforeAll(async () => {
  world = await custody({ shared: true });
});
afterAll(() => world.close());

const log = async (key: AttemptKey): Promise<string[]> => readable(await entriesOf(world.sql, key));

type Said = Pick<StatusInput, 'status'> & Partial<StatusInput>;

/** What the workflow publishes of a job without a build. */
async function publish(
  { pipeline, job, attempt }: AttemptKey,
  said: Said,
  deps: Partial<CustodyDeps> = {},
): Promise<void> {
  const status: StatusInput = { job, attempt, epoch: 0, unbuilt: true, state: kept, ...said };
  await new MockActivityEnvironment({}, { logger: quiet }).run(world.activities(deps).publish, {
    pipeline,
    statuses: [status],
  });
}
const kept = { job: {}, attempts: 1, note: null } as StatusInput['state'];

describe('a job without a build', () => {
  test('has the reason in its log, once, and the log is over with the job', async () => {
    const key = await world.job();
    await publish(key, { status: 'pending' });
    expect(await log(key)).toEqual([]);

    await publish(key, { status: 'pending', error: 'Parked: the token was refused.' });
    await publish(key, { status: 'pending', error: 'Parked: the token was refused.' });
    expect(await log(key)).toEqual(['> Reason', 'Parked: the token was refused.', '< Reason']);
    expect(await openLog(world.sql, key)).toMatchObject({ complete: -1 });

    await publish(key, { status: 'failed', error: 'It is not YAML:\nline 3' });
    await publish(key, { status: 'failed', error: 'It is not YAML:\nline 3' });
    expect((await log(key)).slice(3)).toEqual(['> Reason', 'It is not YAML:', 'line 3', '< Reason']);
    expect(await openLog(world.sql, key)).toMatchObject({ complete: 0 });

    await publish(key, { status: 'failed', error: 'It is not YAML:\nline 3', epoch: 1 });
    expect(await log(key)).toHaveLength(11);
    expect(await openLog(world.sql, key)).toMatchObject({ complete: 1 });
  });

  test('that was cancelled has a log that is over, without a line', async () => {
    const key = await world.job();
    await publish(key, { status: 'cancelled' });
    expect(await openLog(world.sql, key)).toMatchObject({ complete: 0, entries: 0 });
  });

  test('has its reason once, also when many publish it at once or die at any moment', async () => {
    const key = await world.job();
    const said = { status: 'failed', error: 'No.' } as const;
    await Promise.all([1, 2, 3, 4].map(() => publish(key, said)));
    expect(await log(key)).toEqual(['> Reason', 'No.', '< Reason']);

    const other = await world.job();
    for (let moments = 1, done = false; !done; moments += 1) {
      const { sql } = mortal(world, moments);
      await publish(other, said, { sql }).then(
        () => (done = true),
        () => {},
      );
    }
    await publish(other, said);
    expect(await log(other)).toEqual(['> Reason', 'No.', '< Reason']);
    const statuses = await world.sql`select from statuses where pipeline = ${other.pipeline}`;
    expect(statuses).toHaveLength(1);
  });

  test('that does not exist keeps nothing back', async () => {
    const key = { ...(await world.job()), job: 'other.yml' };
    await publish(key, { status: 'failed', error: 'No.' });
    expect(await openLog(world.sql, key)).toBeUndefined();
  });
});

describe('secrets', () => {
  const planted = ['bkua_5f1c7d9e2b4a6083', 'p@ss/w0rd+with~signs', 'second-line-of-a-key-1234'];
  const secrets = [planted[0] ?? '', planted[1] ?? '', `-----BEGIN-----\n${planted[2]}`];

  /** Everything that is in the database, chunks too, as text. */
  async function everything(): Promise<string> {
    const tables = await world.sql<{ name: string }[]>`
      select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'`;
    expect(tables.length).toBeGreaterThan(10);
    const rows = await Promise.all(
      tables.map(
        ({ name }) => world.sql<{ text: string }[]>`select to_jsonb(t)::text as text from ${world.sql(name)} t`,
      ),
    );
    const chunks = await world.sql<{ data: Uint8Array }[]>`select data from log_chunks`;
    const lines = await Promise.all(chunks.map(({ data }) => unpackEntries(data)));
    return [...rows.flat().map(({ text }) => text), ...lines.flat()].join('\n');
  }

  test('are nowhere in the database and in our own log, however they came into a log', async () => {
    const [token = '', password = '', third = ''] = planted;
    const base64 = (text: string): string => Buffer.from(text).toString('base64');
    const own: string[] = [];
    const stream = new Writable({ write: (chunk, _encoding, done) => (own.push(String(chunk)), done()) });
    const deps = { secrets, log: pino({ level: 'trace' }, stream) };

    const { key, build } = await world.build([
      { name: `Deploy with ${token}`, key: 'deploy', command: `curl -H ${token}` },
      { name: `Skipped ${password}`, key: 'skipped' },
    ]);
    world.ci.moveJob(build.id, 'deploy', 'running');
    const long = 'x'.repeat(64 * 1024 - 8);
    world.ci.replaceLog(
      build.id,
      'deploy',
      [
        `--- group ${token}`,
        `plain ${token} and ${password}`,
        `colours ${token.slice(0, 7)}\x1b[1;31m${token.slice(7)}\x1b[0m`,
        `erased ${token.slice(0, 5)}\x1b[K${token.slice(5)}`,
        `nul ${token.slice(0, 5)}\0${token.slice(5)}`,
        `basic ${base64(`user:${password}`)}`,
        `base64 ${base64(token)} ${base64(third).replaceAll('=', '')}`,
        `https://user:${encodeURIComponent(password)}@example.com`,
        third,
        `${long}${token}${'y'.repeat(2 ** 20)}`,
        `${long.slice(8)}${'z'.repeat(64 * 1024)}${token}`,
        ...Array.from({ length: 30_000 }, (_, n) => `${n} ${'-'.repeat(n % 50)}${token}`),
      ].join('\r\n'),
    );
    world.ci.finish(build.id, 'failed', {
      jobs: { deploy: 'failed', skipped: { state: 'broken', brokenReason: `because of ${token}` } },
    });
    await world.bring({ ...key, ended: 0 }, { ...deps, maxLogBytes: 2 ** 26 });
    await world.bring({ ...key, ended: 1, gaveUp: `the CI said: ${token}` }, deps);
    const lines = await log(key);
    expect(lines.length).toBeGreaterThan(30_000);
    expect(lines.filter((line) => line.includes('***')).length).toBeGreaterThan(30_000);

    const all = [await everything(), own.join('\n')].join('\n');
    for (const secret of planted) {
      for (const form of [secret, base64(secret), base64(secret).replaceAll('=', ''), encodeURIComponent(secret)]) {
        expect(all.includes(form), createHash('sha1').update(form).digest('hex')).toBe(false);
      }
      // nor half of one, where a line was cut
      expect(all.includes(secret.slice(0, 12))).toBe(false);
    }
  });
});
