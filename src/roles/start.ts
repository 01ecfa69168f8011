import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { Config } from '../config/index.ts';
import type { Logger } from '../log.ts';
import { postgresDir, startPostgres } from '../embedded/postgres.ts';
import { watchDisk } from '../metrics/live.ts';
import { type Database, openDatabase } from '../store/db.ts';
import { checkSchema, migrate } from '../store/migrate.ts';
import { presentEpoch } from '../store/pipelines.ts';
import { checkRestored } from '../store/restore.ts';
import { startTracing } from '../tracing/start.ts';
import { secretMask } from '../activities/mask.ts';
import { type Ending, ending } from './ending.ts';
import {
  type Face,
  healthPart,
  leavingPart,
  metricsPart,
  type Part,
  plainFace,
  publicFace,
  webhookPart,
} from './faces.ts';
import type { Role, RoleDeps } from './role.ts';
import type { TemporalAt } from '../temporal/where.ts';

// Loaded by the roles that need them: Temporal's SDK takes some 50 MB, which a server has no use for.
const startWorker = async (deps: RoleDeps): Promise<Role> => (await import('./worker.ts')).startWorker(deps);
const startIngest = async (deps: RoleDeps): Promise<Role> => (await import('./ingest.ts')).startIngest(deps);
const ofTemporal = () => import('./temporal.ts');
const whereTemporal = () => import('../temporal/where.ts');

/** A process that runs: where it is reached, and how it ends. */
export interface Running {
  /** The addresses of what it serves, by name. */
  links: Record<string, string>;
  stop(): Promise<void>;
  /** Rejects when it cannot go on. */
  failed: Promise<never>;
}

type RoleName = 'ingest' | 'worker' | 'server';
type Started = Omit<Running, 'stop'>;

/** One role, against services that are configured. */
export async function startRole(name: RoleName, config: Config, log: Logger): Promise<Running> {
  const parts = ending();
  return undoing(parts, async () => {
    const sql = openDatabase(config.database.url ?? '', { max: 20, applicationName: `whorl-${name}` });
    parts.service(() => sql.end({ timeout: 5 }));
    await checkSchema(sql);
    await checkRestored(sql);
    await tracing(name, { config, sql, log }, parts);
    const started = await begin[name]({ config, sql, log }, parts);
    log.info({ role: name, ...started.links }, `${name} is ready`);
    // Nobody but probes and metrics comes to a worker.
    const noticeMs = name === 'worker' ? 0 : Math.min(config.drainNoticeMs, config.drainMs / 4);
    return { ...started, stop: () => parts.stop(noticeMs) };
  });
}

const begin: Record<RoleName, (deps: Omit<RoleDeps, 'temporal'>, parts: Ending) => Promise<Started>> = {
  async server(deps, parts) {
    const face = await publicFace(deps, deps.config.listen, [
      leaving(parts),
      healthPart(deps),
      await metrics('server', deps, parts),
    ]);
    parts.face(() => face.close());
    return { links: { server: face.url }, failed: new Promise<never>(() => {}) };
  },
  async ingest(given, parts) {
    const deps = { ...given, temporal: (await whereTemporal()).configuredTemporal() };
    const role = await add(parts, startIngest(deps));
    const face = await plainFace(deps, deps.config.webhooks, [
      leaving(parts),
      webhookPart(deps),
      await temporalHealth(deps, parts),
      await metrics('ingest', deps, parts),
    ]);
    parts.face(() => face.close());
    return { links: { webhooks: face.url }, failed: role.failed };
  },
  async worker(given, parts) {
    const deps = { ...given, temporal: (await whereTemporal()).configuredTemporal() };
    const role = await add(parts, startWorker(deps));
    const face = await plainFace(deps, deps.config.health, [
      leaving(parts),
      await temporalHealth(deps, parts),
      await metrics('worker', deps, parts, role.metrics),
    ]);
    parts.face(() => face.close());
    return { links: { health: face.url }, failed: role.failed };
  },
};

/** All roles in one process and on one port, with a PostgreSQL and a Temporal of our own where none are configured. */
export async function startUp(config: Config, log: Logger): Promise<Running> {
  const parts = ending();
  const lost = Promise.withResolvers<never>();
  const gone = (reason: string): void => lost.reject(new Error(reason));
  return undoing(parts, async () => {
    const [sql, [temporal, ui]] = await Promise.all([
      database(config, log, parts, gone),
      engine(config, log, parts, gone),
    ]);
    const deps: RoleDeps = { config, sql, log, temporal };
    await tracing('up', deps, parts);
    const worker = await add(parts, startWorker(deps));
    const ingest = await add(parts, startIngest(deps));
    const face: Face = await publicFace(deps, config.listen, [
      leaving(parts),
      webhookPart(deps),
      await temporalHealth(deps, parts),
      await metrics('up', deps, parts, worker.metrics),
    ]);
    parts.face(() => face.close());
    const links = {
      events: `${face.url.replace('http', 'ws')}/events`,
      webhooks: `${face.url}/webhooks/buildkite`,
      ...ui,
    };
    log.info(links, 'whorl is up');
    // There is no other process that a load balancer could turn to, so nobody is given notice.
    return {
      links,
      failed: Promise.race([worker.failed, ingest.failed, lost.promise]),
      stop: () => parts.stop(0),
    };
  });
}

type Gone = (reason: string) => void;

async function database(config: Config, log: Logger, parts: Ending, gone: Gone): Promise<Database> {
  let { url } = config.database;
  if (url === undefined) {
    const dir = postgresDir(config.database.dir);
    await mkdir(path.dirname(dir), { recursive: true });
    watchDisk(config.database.dir);
    const postgres = await startPostgres({ dir, log: (line) => log.info(line), onExit: gone });
    parts.service(() => postgres.stop());
    url = postgres.url;
  }
  const sql = openDatabase(url, { max: 30, applicationName: 'whorl-up' });
  parts.service(() => sql.end({ timeout: 5 }));
  await migrate(sql, { log: (line) => log.info(line) });
  await checkRestored(sql);
  return sql;
}

async function engine(
  config: Config,
  log: Logger,
  parts: Ending,
  gone: Gone,
): Promise<[TemporalAt, Record<string, string>]> {
  const { configuredTemporal, temporalOn } = await whereTemporal();
  if (config.temporal.configured) return [configuredTemporal(), {}];
  const { startTemporal } = await import('../embedded/temporal.ts');
  await mkdir(config.database.dir, { recursive: true });
  const temporal = await startTemporal({
    ui: true,
    dbFile: path.resolve(config.database.dir, 'temporal.db'),
    log: (line) => log.info(line),
    onExit: gone,
  });
  parts.service(() => temporal.stop());
  return [
    temporalOn(temporal.address, temporal.namespace),
    temporal.uiUrl === undefined ? {} : { temporal: temporal.uiUrl },
  ];
}

async function temporalHealth(deps: RoleDeps, parts: Ending) {
  const { openClient, temporalCheck } = await ofTemporal();
  const client = openClient(deps.temporal);
  parts.service(() => client.connection.close());
  return healthPart(deps, { temporal: temporalCheck(client, deps.temporal) });
}

/** Traces, if this process's environment wants them. */
async function tracing(role: string, { config, sql, log }: Omit<RoleDeps, 'temporal'>, parts: Ending): Promise<void> {
  const mask = secretMask(config.logs.secrets);
  const epochOf = (pipeline: string): Promise<number> => presentEpoch(sql, pipeline);
  parts.service(await startTracing({ env: process.env, role, log, mask: (text) => mask()(text), epochOf }));
}

/** `/metrics` goes onto the role's own address, unless it has one to itself. */
async function metrics(
  role: string,
  deps: Omit<RoleDeps, 'temporal'>,
  parts: Ending,
  more?: () => Promise<string>,
): Promise<Part> {
  const part = metricsPart(deps, role, more);
  if (!deps.config.metrics) return part;
  const face = await plainFace(deps, deps.config.metrics, [part]);
  parts.face(() => face.close());
  return () => {};
}

const leaving = (parts: Ending) => leavingPart(() => parts.isTold);

async function add(parts: Ending, starting: Promise<Role>): Promise<Role> {
  const role = await starting;
  parts.role(() => role.stop());
  return role;
}

async function undoing<T>(parts: Ending, start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (error) {
    await parts.stop(0).catch(() => {});
    throw error;
  }
}
