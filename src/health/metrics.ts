import type { FastifyInstance } from 'fastify';
import { buildInfo, logSpace } from '../metrics/index.ts';
import { lookAtDisk, settleStreams } from '../metrics/live.ts';
import { measureProcess, registry } from '../metrics/registry.ts';
import { version } from '../version.ts';
import type { Sql } from '../store/db.ts';
import { measured, type MeasuredOptions } from './measured.ts';

export interface MetricsOptions extends MeasuredOptions {
  sql: Sql;
  /** `up`, `ingest`, `worker` or `server`. */
  role: string;
  /** What all logs together may take, bytes. */
  logSpaceBytes: number;
  /** Metrics of others in the same process, as text: Temporal's SDK has its own. */
  more?: (() => Promise<string>) | undefined;
}

/**
 * `/metrics`, for Prometheus: what this process counted, what the database knows, and what Temporal's SDK tells. What
 * cannot be had is left out: a scrape never fails because of a service that is away.
 */
export function metricsRoute(
  app: FastifyInstance,
  { sql, role, logSpaceBytes, more, ...options }: MetricsOptions,
): void {
  measureProcess();
  buildInfo.set({ version, role, node: process.version }, 1);
  logSpace.set(logSpaceBytes);
  const onFailure = (error: unknown): void => app.log.warn({ err: error }, 'the database was not measured');
  const database = measured(sql, { onFailure, ...options });
  app.get('/metrics', async (_request, reply) => {
    settleStreams();
    await lookAtDisk();
    const texts = await Promise.all([registry.metrics(), database.text(), more?.().catch(() => '')]);
    const text = texts
      .map((each) => each?.trimEnd() ?? '')
      .filter((each) => each !== '')
      .join('\n');
    return reply.type(registry.contentType).send(`${text}\n`);
  });
}
