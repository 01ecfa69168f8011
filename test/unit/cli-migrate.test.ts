import { randomUUID } from 'node:crypto';
import { Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { commandLine } from '../support/cli.ts';
import { emptyDatabase, freshDatabase } from '../support/database.ts';

let db: Awaited<ReturnType<typeof freshDatabase>>;
beforeAll(async () => void (db = await freshDatabase()));
afterAll(() => db.drop());

const whorl = commandLine(() => db.url);

describe('whorl migrate', () => {
  let empty: Awaited<ReturnType<typeof emptyDatabase>>;
  beforeAll(async () => void (empty = await emptyDatabase()));
  afterAll(() => empty.drop());

  test('says what it applied and how long it took, and the second time that there was nothing to do', async () => {
    const env = { WHORL_DATABASE_URL: empty.url };
    const before = await whorl('migrate --check', env);
    expect(before).toMatchObject({ code: 1, out: '', err: expect.stringContaining('run "whorl migrate"') });
    const first = await whorl('migrate', env);
    expect(first).toMatchObject({ code: 0, err: '' });
    expect(first.out).toMatch(
      /^applying migration 1 \(.*\)\n(.*\n)*Database: at schema \d+, applied \d+ migrations? \(\d+ ms\)\n/,
    );
    expect(first.out).toMatch(/\nTemporal: left out, because no TEMPORAL_ADDRESS is set/);
    expect((await whorl('migrate', env)).out).toMatch(/^Database: at schema \d+, nothing to do \(\d+ ms\)\n/);
    expect(await whorl('migrate --check', env)).toMatchObject({ code: 0, err: '' });
  });

  test('of an older release leaves a newer schema as it is', async () => {
    const newer = await freshDatabase();
    try {
      await newer.sql`update schema_info set version = version + 1`;
      const env = { WHORL_DATABASE_URL: newer.url };
      expect((await whorl('migrate', env)).out).toContain('of a newer release; left as it is');
      await newer.sql`update schema_info set compatible_from = version`;
      expect(await whorl('repos list', env)).toMatchObject({
        code: 1,
        err: expect.stringContaining('upgrade this process'),
      });
    } finally {
      await newer.drop();
    }
  });

  test("makes Temporal's namespace and search attributes where they are missing, and finds them the next time", async () => {
    const namespace = `cli-${randomUUID().slice(0, 8)}`;
    const env = {
      WHORL_DATABASE_URL: db.url,
      TEMPORAL_ADDRESS: inject('temporalAddress'),
      TEMPORAL_NAMESPACE: namespace,
    };
    const missing = await whorl('migrate --check', env);
    expect(missing).toMatchObject({
      code: 1,
      err: expect.stringContaining('the namespace does not exist in Temporal'),
    });

    const connection = await Connection.connect({ address: env.TEMPORAL_ADDRESS });
    try {
      const done = await whorl('migrate --wait 30s', env);
      expect(done).toMatchObject({ code: 0, err: '' });
      const { config } = await connection.workflowService.describeNamespace({ namespace });
      expect(String(config?.workflowExecutionRetentionTtl?.seconds)).toBe(`${72 * 3_600}`);
      expect(done.out).toContain('added the search attributes Knot, Repo, Commit, Branch, Trigger, Parked');
      const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
      expect(customAttributes).toMatchObject({ Knot: 2, Parked: 7 });
      for (const line of ['migrate', 'migrate --check']) {
        expect(await whorl(line, env)).toMatchObject({
          code: 0,
          out: expect.stringContaining('search attributes are there'),
        });
      }
    } finally {
      await connection.close();
    }
  });

  test('says so when Temporal does not answer, after the database was brought up', async () => {
    const env = { WHORL_DATABASE_URL: db.url, TEMPORAL_ADDRESS: '127.0.0.1:1' };
    const { code, out, err } = await whorl('migrate --wait 0s', env);
    expect(code).toBe(1);
    expect(out).toMatch(/^Database: at schema/);
    expect(err).toMatch(
      /^whorl: Temporal \(127.0.0.1:1, namespace default\) does not answer \([^\n]+check TEMPORAL_ADDRESS$/,
    );
  });
});
