import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { afterEach, beforeEach } from 'vitest';
import type { PipelineId } from '../../src/pipeline/ids.ts';
import { buildServer, type ServerDeps } from '../../src/server/app.ts';
import type { Database, Sql } from '../../src/store/db.ts';
import { type FreshDatabase, freshDatabase } from './database.ts';
import { logWriter, sayOf } from './logs.ts';
import { addPipeline } from './outbox.ts';
import { until } from './until.ts';

export const knot = '127.0.0.1:5555';
/** How a reader is let go who has got everything. */
export const complete = { code: 1000, reason: 'log stream complete' };

export const lines = (count: number, size = 40, first = 0): string[] =>
  Array.from({ length: count }, (_, n) => `${first + n} `.padEnd(size, 'x'));

/** Servers of `/logs` on a database of their own, for each test of the file anew. */
export function logsHost() {
  let database: FreshDatabase;
  let apps: FastifyInstance[];
  let pools: Database[];
  let logged: string[];
  const log = pino({ level: 'debug' }, { write: (line: string) => void logged.push(line) });

  beforeEach(async () => {
    [apps, pools, logged] = [[], [], []];
    database = await freshDatabase();
  });
  afterEach(async () => {
    await Promise.all(apps.map((app) => app.close()));
    await Promise.all(pools.map((pool) => pool.end({ timeout: 0 })));
    await database.drop();
  });

  return {
    log,
    get sql(): Sql {
      return database.sql;
    },
    get url(): string {
      return database.url;
    },
    /** What the servers have logged, as JSON lines. */
    get logged(): string[] {
      return logged;
    },
    /** Begins a server. Nothing but what says so may lean on its poll. */
    async serve(logs: ServerDeps['logs'] = {}, sql: Sql = database.sql): Promise<string> {
      const app = buildServer({
        sql,
        log,
        hostname: 'spindle.example',
        owner: 'did:web:owner.example',
        dev: true,
        logs: { closeMs: 200, pollMs: 600_000, retryMs: 20, ...logs },
      });
      apps.push(app);
      await app.listen({ host: '127.0.0.1', port: 0 });
      return `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
    },
    /** Stops the server that was begun last. */
    stop: async (): Promise<void> => apps.pop()?.close(),
    /** Ends the pool with the test. */
    alsoEnd: (...more: Database[]): void => void pools.push(...more),
    /** A pipeline with this job, and what writes the log of its first attempt. */
    async newJob(job = 'ci.yml', rkey = 'p0') {
      const pipeline = await addPipeline(database.sql, knot, rkey, [job]);
      return { ...logWriter(database.sql, { pipeline, job, attempt: 1 }), pipeline };
    },
    ended: (pipeline: PipelineId, job = 'ci.yml') => sayOf(database.sql, pipeline, job, 'success'),
    /** Waits until the server has heard of readers, so that what comes then is live. */
    followed: (count = 1) =>
      until(
        'readers to follow',
        () => logged.filter((line) => line.includes('a reader of /logs came')).length >= count,
      ),
  };
}
