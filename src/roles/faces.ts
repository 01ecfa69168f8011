import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { Address } from '../config/forms.ts';
import { type Check, databaseCheck, healthRoutes } from '../health/health.ts';
import { httpApp } from '../health/http.ts';
import { metricsRoute } from '../health/metrics.ts';
import { webhookRoutes } from '../ingest/webhooks.ts';
import { webhooks } from '../providers/webhooks.ts';
import { buildServer, type ServerDeps } from '../server/app.ts';
import type { RoleDeps } from './role.ts';

/** What a process shows on one address. */
export interface Face {
  /** `http://host:port`, with the port that was really taken. */
  url: string;
  close(): Promise<void>;
}

export type Part = (app: FastifyInstance) => void;

/** Where the CI's webhooks come in. Goes onto any app. */
export const webhookPart =
  ({ config: { buildkite }, sql, log }: Omit<RoleDeps, 'temporal'>): Part =>
  (app) =>
    webhookRoutes(app, {
      sql,
      log,
      parsers: webhooks({ buildkite: buildkite && { mode: buildkite.mode, secrets: () => [...buildkite.secrets()] } }),
    });

/**
 * What a process says once it was told to stop: `/readyz` is 503, and every answer ends its connection, so that the next
 * request goes to another process. Goes onto an app before what asks for health.
 */
export const leavingPart =
  (isTold: () => boolean): Part =>
  (app) =>
    void app.addHook('onRequest', async (request, reply) => {
      if (!isTold()) return;
      void reply.header('connection', 'close');
      if (request.url.split('?', 1)[0] !== '/readyz') return;
      const detail = 'draining: this process was told to stop; send nothing new here';
      await reply.code(503).send({ ok: false, checks: { process: { ok: false, detail } } });
    });

export const healthPart =
  ({ sql }: Pick<RoleDeps, 'sql'>, checks: Record<string, Check> = {}): Part =>
  (app) =>
    healthRoutes(app, { database: databaseCheck(sql), ...checks });

/** `/metrics` of this process. `more`: what others in it tell of themselves. */
export const metricsPart =
  ({ sql, config }: Pick<RoleDeps, 'sql' | 'config'>, role: string, more?: () => Promise<string>): Part =>
  (app) =>
    metricsRoute(app, { sql, role, more, logSpaceBytes: config.logs.spaceBytes });

/** The public face: statuses, logs and identity, and what else is put on the same address. */
export function publicFace(
  deps: Omit<RoleDeps, 'temporal'>,
  address: Address,
  parts: Part[],
  events?: ServerDeps['events'],
): Promise<Face> {
  const { config, sql, log } = deps;
  const app = buildServer({
    sql,
    log,
    hostname: config.hostname,
    owner: config.owner,
    dev: config.dev,
    logs: { colours: config.logs.colours },
    events: { rewindMs: config.events.rewindMs, ...events },
    readers: config.readers,
    calls: { plcUrl: config.network.plcUrl },
  });
  return open(app, address, parts);
}

/** An address without the public face. */
export const plainFace = ({ log }: Pick<RoleDeps, 'log'>, address: Address, parts: Part[]): Promise<Face> =>
  open(httpApp(log), address, parts);

async function open(app: FastifyInstance, { host, port }: Address, parts: Part[]): Promise<Face> {
  for (const part of parts) part(app);
  await app.listen({ port, host: host === '' ? '::' : host });
  const { port: taken } = app.server.address() as AddressInfo;
  const shown = host === '' ? 'localhost' : host.includes(':') ? `[${host}]` : host;
  return { url: `http://${shown}:${taken}`, close: () => app.close() };
}
