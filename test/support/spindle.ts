import { randomUUID } from 'node:crypto';
import { Client, Connection, type WorkflowHandle } from '@temporalio/client';
import { inject, onTestFinished } from 'vitest';
import { type AppviewOptions, type AppviewSim, startAppview } from '../../sim/appview/appview.ts';
import {
  type BuildEvent,
  type BuildkiteOptions,
  type BuildkiteSim,
  startBuildkite,
} from '../../sim/buildkite/index.ts';
import { type KnotOptions, type KnotSim, startKnot } from '../../sim/knot/knot.ts';
import { type Config, loadConfig } from '../../src/config/index.ts';
import { createLogger } from '../../src/log.ts';
import { defaultDurations, type Durations } from '../../src/pipeline/durations.ts';
import { type Face, healthPart, publicFace, webhookPart } from '../../src/roles/faces.ts';
import { type IngestOptions, startIngest } from '../../src/roles/ingest.ts';
import type { Role, RoleDeps } from '../../src/roles/role.ts';
import { temporalOn } from '../../src/temporal/where.ts';
import { startWorker } from '../../src/roles/worker.ts';
import { type CommandKind } from '../../src/store/work.ts';
import { commandResult, insertCommand } from '../../src/store/commands.ts';
import { pinRepo } from '../../src/store/repos.ts';
import { freshDatabase } from './database.ts';
import { startNetwork, type TestNetwork, type TestNetworkOptions } from './network.ts';
import { until } from './until.ts';

export const secret = 'a-webhook-secret-for-tests';
export const repo = { did: 'did:plc:ewvi7nxzyoun6zhxrhs64oiz', name: 'whorl-demo' };

/** Short enough that a test need not wait, long enough that what should not happen by time does not. */
export const quick: Durations = {
  ...defaultDurations,
  silence: 60_000,
  resend: 400,
  cancelConfirm: 2_000,
  sweeps: [500, 1_000],
  looks: [200, 300],
  searchGrace: 300,
  unsure: 3_000,
  reopenGrace: 5_000,
  createTimeout: 3_000,
  readTimeout: 3_000,
  logPatience: 500,
  publishTimeout: 3_000,
  retryFirst: 100,
  retryMax: 1_000,
};

export const buildEvents: readonly BuildEvent[] = [
  'build.scheduled',
  'build.running',
  'build.failing',
  'build.finished',
  'build.skipped',
];

export interface SpindleOptions {
  durations?: Partial<Durations>;
  env?: Record<string, string>;
  buildkite?: BuildkiteOptions;
  knot?: KnotOptions;
  appview?: Partial<AppviewOptions>;
  ingest?: IngestOptions;
  /** Starts an AT Protocol network and points the spindle at it, as its owner's; default none, and no jetstream at all. */
  network?: boolean | TestNetworkOptions;
  /** Roles to start; default all. */
  roles?: ('worker' | 'ingest' | 'server')[];
  /** Pins `repo` and connects the simulated CI's webhooks; default true. */
  ready?: boolean;
  /** What the CI tells by webhook; default what every organisation should send: how builds go. */
  events?: readonly BuildEvent[];
  /** Sees to the schedule of housekeeping at Temporal, which outlives the test; default not. */
  housekeeping?: boolean;
  /** Ends by `close` and not with the test, for the tests of a file that share one. */
  shared?: boolean;
}

export interface Spindle {
  config: Config;
  deps: RoleDeps;
  sql: RoleDeps['sql'];
  databaseUrl: string;
  knot: KnotSim;
  ci: BuildkiteSim;
  /** Only with `spindle({ network: true })`. */
  readonly network: TestNetwork;
  /** A strict reader of `/events`. */
  appview: AppviewSim;
  client: Client;
  /** `http://host:port` of the public face and the webhooks. */
  url: string;
  start(role: 'worker' | 'ingest'): Promise<Role>;
  /** Pushes workflow files and gives the pipeline. */
  push(workflows: Record<string, string>, more?: Record<string, unknown>): Pushed;
  command(kind: CommandKind, pipeline: string, job?: string): Promise<{ state: string; result: string | null }>;
  close(): Promise<void>;
}

export interface Pushed {
  rkey: string;
  sha: string;
  id: string;
  handle: WorkflowHandle;
  /** The statuses of a job as the strict appview stored them, without repeats. */
  seen(job: string): string[];
  /** Waits until the appview shows this status for the job. */
  shows(job: string, status: string): Promise<void>;
  ended(): Promise<unknown>;
}

export const buildkiteFile = (pipeline = 'app'): string =>
  `engine: tack\ntack:\n  buildkite:\n    pipeline: ${pipeline}\n`;

/** A whole spindle in this process, on real PostgreSQL and Temporal, with a simulated knot, CI and appview. Ends with the test. */
export async function spindle(options: SpindleOptions = {}): Promise<Spindle> {
  const stops: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (let stop = stops.pop(); stop; stop = stops.pop()) await stop();
  };
  if (!options.shared) onTestFinished(close);
  const database = await freshDatabase({ max: 20 });
  stops.push(() => database.drop());
  const { sql } = database;
  const ci = await startBuildkite({
    clock: 'manual',
    pipelines: ['acme/app', 'acme/lint', 'acme/whorl-demo'],
    ...options.buildkite,
  });
  stops.push(() => ci.close());
  const knot = await startKnot(options.knot);
  stops.push(() => knot.close());

  const network = options.network
    ? await startNetwork({ ...(typeof options.network === 'object' && options.network), shared: true })
    : undefined;
  stops.push(async () => network?.close());

  const { config: read } = loadConfig({
    WHORL_HOSTNAME: 'spindle.example',
    WHORL_OWNER_DID: 'did:web:owner.example',
    WHORL_DEV: 'true',
    WHORL_JETSTREAM_URL: 'off',
    WHORL_LISTEN_ADDR: '127.0.0.1:0',
    WHORL_DATABASE_URL: database.url,
    WHORL_TASK_QUEUE: `test-${randomUUID()}`,
    WHORL_EVENTS_REWIND: '5s',
    WHORL_FAKE_POLL: '100ms',
    WHORL_BUILDKITE_TOKEN: ci.token,
    WHORL_BUILDKITE_ORG: 'acme',
    WHORL_BUILDKITE_RATE: '10000',
    WHORL_BUILDKITE_WEBHOOK_SECRET: secret,
    WHORL_BUILDKITE_API_URL: ci.apiUrl,
    WHORL_BUILDKITE_WEBHOOK_MODE: 'signature',
    TEMPORAL_ADDRESS: inject('temporalAddress'),
    ...network?.env,
    ...options.env,
  });
  const config: Config = { ...read, durations: { ...quick, ...options.durations } };
  const log = createLogger({ level: process.env['WHORL_LOG_LEVEL'] ?? 'silent', format: 'json' });
  const deps: RoleDeps = {
    config,
    sql,
    log,
    temporal: temporalOn(inject('temporalAddress'), inject('temporalNamespace')),
  };
  const client = new Client({
    connection: await Connection.connect({ address: inject('temporalAddress') }),
    namespace: inject('temporalNamespace'),
  });
  stops.push(() => client.connection.close());

  const start = async (role: 'worker' | 'ingest'): Promise<Role> => {
    const started =
      role === 'worker'
        ? await startWorker(deps, {
            bundlePath: inject('workflowBundlePath'),
            graceMs: 2_000,
            housekeeping: options.housekeeping ?? false,
          })
        : await startIngest(deps, {
            ...options.ingest,
            knots: { drainIdleMs: 200, redialMinMs: 50, ...options.ingest?.knots },
          });
    let stopped: Promise<void> | undefined;
    const stop = () => (stopped ??= started.stop());
    stops.push(stop);
    return { ...started, stop };
  };

  const roles = options.roles ?? ['worker', 'ingest', 'server'];
  const face: Face = await publicFace(deps, config.listen, [webhookPart(deps), healthPart(deps)]);
  stops.push(() => face.close());
  const appview = startAppview({
    spindleUrl: face.url.replace('http', 'ws'),
    pipelinesFrom: () => true,
    redialMs: 200,
    ...options.appview,
  });
  stops.push(async () => appview.close());
  await appview.connected();
  if (options.ready !== false) {
    ci.webhook({
      url: `${face.url}/webhooks/buildkite`,
      mode: 'signature',
      secret,
      events: options.events ?? buildEvents,
    });
    await pinRepo(sql, { knot: knot.host, ...repo });
  }
  if (roles.includes('worker')) await start('worker');
  if (roles.includes('ingest')) await start('ingest');
  if (roles.includes('ingest') && options.ready !== false) await knot.connected(1);

  const push: Spindle['push'] = (workflows, more = {}) => {
    const files = Object.entries(workflows).map(([name, raw]) => ({ name, raw }));
    const { rkey, sha } = knot.push({ repo, workflows: files, ...more });
    const id = `pipeline/${knot.host}/${rkey}`;
    const handle = client.workflow.getHandle(id);
    return {
      rkey,
      sha,
      id,
      handle,
      seen: (job) => dedupe((appview.view(knot.host, rkey)?.jobs[job]?.history ?? []).map(({ status }) => status)),
      async shows(job, status) {
        await appview.wait(knot.host, rkey, (view) => view.jobs[job]?.status === status, 20_000);
      },
      ended: () => handle.result(),
    };
  };

  const command: Spindle['command'] = async (kind, pipeline, job) => {
    const id = randomUUID();
    await insertCommand(sql, { id, pipeline, kind, job, by: 'tester' });
    return until(`${kind} is carried out`, async () => {
      const found = await commandResult(sql, id);
      return found && found.state !== 'new' ? found : undefined;
    });
  };

  return {
    config,
    deps,
    sql,
    databaseUrl: database.url,
    knot,
    ci,
    get network() {
      if (!network) throw new Error('this spindle has no network; start it with spindle({ network: true })');
      return network;
    },
    appview,
    client,
    url: face.url,
    start,
    push,
    command,
    close,
  };
}

/** The resend shows a status again; a reader sees a change only once. */
const dedupe = (statuses: string[]): string[] => statuses.filter((status, n) => status !== statuses[n - 1]);
