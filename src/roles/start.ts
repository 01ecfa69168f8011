import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { Config } from '../config/index.ts';
import type { Logger } from '../log.ts';
import { postgresDir, startPostgres } from '../embedded/postgres.ts';
import { type Database, openDatabase } from '../store/db.ts';
import { checkSchema, migrate } from '../store/migrate.ts';
import { type Face, healthPart, plainFace, publicFace, webhookPart } from './faces.ts';
import type { Role, RoleDeps } from './role.ts';
import type { TemporalAt } from './temporal.ts';

// Loaded by the roles that need them: Temporal's SDK takes some 50 MB, which a server has no use for.
const startWorker = async (deps: RoleDeps): Promise<Role> => (await import('./worker.ts')).startWorker(deps);
const startIngest = async (deps: RoleDeps): Promise<Role> => (await import('./ingest.ts')).startIngest(deps);
const ofTemporal = () => import('./temporal.ts');

/** A process that runs: where it is reached, and how it ends. */
export interface Running {
  /** The addresses of what it serves, by name. */
  links: Record<string, string>;
  stop(): Promise<void>;
  /** Rejects when it cannot go on. */
  failed: Promise<never>;
}

type RoleName = 'ingest' | 'worker' | 'server';
type Stop = () => Promise<unknown>;
type Started = Omit<Running, 'stop'>;

/** One role, against services that are configured. */
export async function startRole(name: RoleName, config: Config, log: Logger): Promise<Running> {
  const stops: Stop[] = [];
  return undoing(stops, async () => {
    const sql = openDatabase(config.database.url ?? '', { max: 20, applicationName: `whorl-${name}` });
    stops.push(() => sql.end({ timeout: 5 }));
    await checkSchema(sql);
    const started = await begin[name]({ config, sql, log }, stops);
    log.info({ role: name, ...started.links }, `${name} is ready`);
    return { ...started, stop: () => inReverse(stops) };
  });
}

const begin: Record<RoleName, (deps: Omit<RoleDeps, 'temporal'>, stops: Stop[]) => Promise<Started>> = {
  async server(deps, stops) {
    const face = await publicFace(deps, deps.config.listen, [healthPart(deps)]);
    stops.push(() => face.close());
    return { links: { server: face.url }, failed: new Promise<never>(() => {}) };
  },
  async ingest(given, stops) {
    const deps = { ...given, temporal: (await ofTemporal()).configuredTemporal() };
    const role = await add(stops, startIngest(deps));
    const parts = [webhookPart(deps), await temporalHealth(deps, stops)];
    const face = await plainFace(deps, deps.config.webhooks, parts);
    stops.push(() => face.close());
    return { links: { webhooks: face.url }, failed: role.failed };
  },
  async worker(given, stops) {
    const deps = { ...given, temporal: (await ofTemporal()).configuredTemporal() };
    const role = await add(stops, startWorker(deps));
    const face = await plainFace(deps, deps.config.health, [await temporalHealth(deps, stops)]);
    stops.push(() => face.close());
    return { links: { health: face.url }, failed: role.failed };
  },
};

/** All roles in one process and on one port, with a PostgreSQL and a Temporal of our own where none are configured. */
export async function startUp(config: Config, log: Logger): Promise<Running> {
  const stops: Stop[] = [];
  const lost = Promise.withResolvers<never>();
  const gone = (reason: string): void => lost.reject(new Error(reason));
  return undoing(stops, async () => {
    const [sql, [temporal, ui]] = await Promise.all([
      database(config, log, stops, gone),
      engine(config, log, stops, gone),
    ]);
    const deps: RoleDeps = { config, sql, log, temporal };
    const worker = await add(stops, startWorker(deps));
    const ingest = await add(stops, startIngest(deps));
    const face: Face = await publicFace(deps, config.listen, [webhookPart(deps), await temporalHealth(deps, stops)]);
    stops.push(() => face.close());
    const links = {
      events: `${face.url.replace('http', 'ws')}/events`,
      webhooks: `${face.url}/webhooks/buildkite`,
      ...ui,
    };
    log.info(links, 'whorl is up');
    return { links, failed: Promise.race([worker.failed, ingest.failed, lost.promise]), stop: () => inReverse(stops) };
  });
}

type Gone = (reason: string) => void;

async function database(config: Config, log: Logger, stops: Stop[], gone: Gone): Promise<Database> {
  let { url } = config.database;
  if (url === undefined) {
    const dir = postgresDir(config.database.dir);
    await mkdir(path.dirname(dir), { recursive: true });
    const postgres = await startPostgres({ dir, log: (line) => log.info(line), onExit: gone });
    stops.push(() => postgres.stop());
    url = postgres.url;
  }
  const sql = openDatabase(url, { max: 30, applicationName: 'whorl-up' });
  stops.push(() => sql.end({ timeout: 5 }));
  await migrate(sql, { log: (line) => log.info(line) });
  return sql;
}

async function engine(
  config: Config,
  log: Logger,
  stops: Stop[],
  gone: Gone,
): Promise<[TemporalAt, Record<string, string>]> {
  const { configuredTemporal, temporalOn } = await ofTemporal();
  if (config.temporal.configured) return [configuredTemporal(), {}];
  const { startTemporal } = await import('../embedded/temporal.ts');
  await mkdir(config.database.dir, { recursive: true });
  const temporal = await startTemporal({
    ui: true,
    dbFile: path.resolve(config.database.dir, 'temporal.db'),
    log: (line) => log.info(line),
    onExit: gone,
  });
  stops.push(() => temporal.stop());
  return [
    temporalOn(temporal.address, temporal.namespace),
    temporal.uiUrl === undefined ? {} : { temporal: temporal.uiUrl },
  ];
}

async function temporalHealth(deps: RoleDeps, stops: Stop[]) {
  const { openClient, temporalCheck } = await ofTemporal();
  const client = openClient(deps.temporal);
  stops.push(() => client.connection.close());
  return healthPart(deps, { temporal: temporalCheck(client) });
}

async function add(stops: Stop[], starting: Promise<Role>): Promise<Role> {
  const role = await starting;
  stops.push(() => role.stop());
  return role;
}

/** What was started last ends first; one that fails to end does not keep the others. */
async function inReverse(stops: Stop[]): Promise<void> {
  const errors: unknown[] = [];
  for (let stop = stops.pop(); stop; stop = stops.pop()) {
    try {
      await stop();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw new AggregateError(errors, 'could not stop everything');
}

async function undoing<T>(stops: Stop[], start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (error) {
    await inReverse(stops).catch(() => {});
    throw error;
  }
}
