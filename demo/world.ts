import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Client } from '@temporalio/client';
import pino from 'pino';
import { type AppviewSim, startAppview } from '../sim/appview/appview.ts';
import type { Outcome } from '../sim/appview/book.ts';
import {
  type BuildkiteSim,
  type Delivery,
  type RequestRecord,
  type ScriptRule,
  startBuildkite,
} from '../sim/buildkite/index.ts';
import { register } from '../sim/appview/register.ts';
import { type KnotSim, startKnot } from '../sim/knot/knot.ts';
import { loadConfig } from '../src/config/index.ts';
import { postgresDir, startPostgres } from '../src/embedded/postgres.ts';
import { startTemporal } from '../src/embedded/temporal.ts';
import { startUp } from '../src/roles/start.ts';
import { temporalOn } from '../src/temporal/where.ts';
import { openClient } from '../src/roles/temporal.ts';
import { type Database, openDatabase } from '../src/store/db.ts';
import { host, type Repo, startNetwork } from './network.ts';

/** Told of what the simulators see. */
export interface Watch {
  request(request: Readonly<RequestRecord>): void;
  delivery(delivery: Readonly<Delivery>): void;
  frame(outcome: Outcome): void;
}

export interface World {
  /** Served by Whorl, because records say so. */
  repo: Repo;
  knot: KnotSim;
  ci: BuildkiteSim;
  /** A strict reader of `/events`, which knows only the pipelines that it heard of from the knot. */
  appview: AppviewSim;
  sql: Database;
  client: Client;
  /** Temporal's UI. */
  ui: string;
  /** Whorl's public address, `http://…`. */
  url: string;
  /** Rejects when a part of it ends by itself. */
  failed: Promise<never>;
}

/** What has to be undone at the end, last first. */
export type Stops = (() => Promise<unknown>)[];

/** A folder for the database and Whorl's log. It stays when something went wrong, and the log says why. */
export async function demoFolder(): Promise<{ dir: string; logFile: string; remove: () => Promise<void> }> {
  const dir = await mkdtemp(path.join(tmpdir(), 'whorl-demo-'));
  // PostgreSQL may run as another user.
  await chmod(dir, 0o755);
  return { dir, logFile: path.join(dir, 'whorl.log'), remove: () => rm(dir, { recursive: true, force: true }) };
}

export interface Start {
  /** Where commands find the database, as they find that of a `whorl up`. */
  dir: string;
  logFile: string;
  watch: Watch;
  say(line: string): void;
  /** Gets a stop for each start, as soon as there is something to stop. */
  stops: Stops;
  /** Nothing new is started after it is aborted. */
  signal: AbortSignal;
  /** Somebody may press a button at the CI and open an ended job again, which is not the spindle's fault. */
  reopenings: boolean;
}

/**
 * Everything for real but what is somebody else's: the network of records, a knot, a CI and an appview, which are
 * simulated. Whorl is started by the code of `whorl up`, and knows nothing of any repository: its tables are empty.
 */
export async function startWorld({ dir, logFile, watch, say, stops, signal, reopenings }: Start): Promise<World> {
  const lost = Promise.withResolvers<never>();
  lost.promise.catch(() => {});
  const onExit = (reason: string): void => lost.reject(new Error(reason));
  const began = Date.now();
  const ready = (what: string): void => say(`${String(Date.now() - began).padStart(6)} ms  ${what}`);
  const keep = async <T>(starting: Promise<T>, stop: (started: T) => unknown): Promise<T> => {
    const started = await starting;
    stops.push(async () => stop(started));
    return started;
  };

  const starts = [
    keep(startPostgres({ dir: postgresDir(dir), persistent: false, onExit }), (it) => it.stop()),
    keep(startTemporal({ ui: true, onExit }), (it) => it.stop()),
    keep(startBuildkite(buildkite(watch)), (it) => it.close()),
    keep(startKnot(), (it) => it.close()),
    keep(startNetwork(), (it) => it.close()),
  ] as const;
  starts[0].then(({ port }) => ready(`PostgreSQL on 127.0.0.1:${port}`)).catch(() => {});
  starts[1].then(({ address }) => ready(`Temporal on ${address}`)).catch(() => {});
  starts[2].then(({ port }) => ready(`a CI that speaks Buildkite's protocol on 127.0.0.1:${port}`)).catch(() => {});
  starts[3].then(({ host }) => ready(`a knot on ${host}`)).catch(() => {});
  starts[4].then(() => ready('a network of records: accounts, their server, a directory, a jetstream')).catch(() => {});
  // All of them: what starts must have its stop before this gives up.
  await Promise.allSettled(starts);
  const [postgres, temporal, ci, knot, network] = await Promise.all(starts);
  signal.throwIfAborted();

  // The person's own settings are about other services than these.
  for (const name of Object.keys(process.env)) if (/^(WHORL|TACK|TEMPORAL)_/.test(name)) delete process.env[name];
  const secret = 'the-demo-needs-no-better-one';
  Object.assign(process.env, {
    TEMPORAL_ADDRESS: temporal.address,
    // Not there on purpose: a person's default profile would otherwise be mixed in.
    TEMPORAL_PROFILE: '',
    WHORL_HOSTNAME: host,
    ...network.env,
    WHORL_DEV: 'true',
    WHORL_LISTEN_ADDR: '127.0.0.1:0',
    WHORL_DATABASE_URL: postgres.url,
    WHORL_BUILDKITE_TOKEN: ci.token,
    WHORL_BUILDKITE_ORG: 'acme',
    WHORL_BUILDKITE_API_URL: ci.apiUrl,
    WHORL_BUILDKITE_WEBHOOK_SECRET: secret,
    WHORL_BUILDKITE_WEBHOOK_MODE: 'signature',
  });
  const { config } = loadConfig(process.env);
  const log = pino({ level: 'debug', base: null }, pino.destination({ dest: logFile, sync: true }));
  say('           Whorl: schema, workflows, connections …');
  const whorl = await keep(startUp(config, log), (it) => it.stop());
  signal.throwIfAborted();
  whorl.failed.catch(lost.reject);
  const events = whorl.links['events'] ?? '';

  ci.webhook({
    url: whorl.links['webhooks'] ?? '',
    mode: 'signature',
    secret,
    events: ['build.scheduled', 'build.running', 'build.finished'],
  });
  const appview = startAppview({ spindleUrl: events, pipelinesFrom: [knot.url], reopenings, onFrame: watch.frame });
  stops.push(async () => appview.close());
  const sql = openDatabase(postgres.url, { max: 2, applicationName: 'whorl-demo' });
  stops.push(() => sql.end({ timeout: 1 }));
  const client = openClient(temporalOn(temporal.address, temporal.namespace));
  stops.push(() => client.connection.close());

  // The appview reads the knot too, to learn of pipelines.
  await Promise.all([appview.connected(), network.read()]);
  const url = events.replace(/^ws(.*)\/events$/, 'http$1');
  ready(`Whorl, all roles: ${url}`);
  const verified = await register(url, network.owner.did);
  if (!verified.ok) throw new Error(`An appview would not verify this spindle: ${verified.message}`);
  ready(`an appview verifies it for its owner, ${network.owner.handle}`);
  const repo = await network.join({ sql, knot, signal, told: ready });
  return { repo, knot, ci, appview, sql, client, ui: temporal.uiUrl ?? '', url, failed: lost.promise };
}

/** For `ci.script`: lint.yml's builds fail. */
export const failing: ScriptRule = ({ pipeline }) =>
  pipeline === 'whorl-demo-lint' ? ['running', { to: 'failed', jobs: 'failed' }] : undefined;

/** Builds take a second or two, so that every status has its time on the screen. */
const buildkite = (watch: Watch) => ({
  pipelines: ['acme/whorl-demo', 'acme/whorl-demo-lint'],
  clock: 'auto' as const,
  pace: 1_200,
  onRequest: watch.request,
  onDelivery: watch.delivery,
});
