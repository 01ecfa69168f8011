import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { insertCommand } from '../src/store/commands.ts';
import type { CiControl, Link, Member, Protocol, ReadersControl, RoleName, TangledControl, World } from './contract.ts';
import type { Asked, Crash, Disturbance, Push } from './evidence.ts';
import { openLink } from './links/index.ts';
import { type Supervised, supervise } from './member.ts';
import { lastingPorts } from './ports.ts';
import { repositories } from './pushes.ts';
import { type RemoteProcess, start } from './remote.ts';
import { type DatabaseService, type Engine, startDatabase, startEngine } from './services.ts';
import { type Durations, pipelines, type Secrets, settings, spindle } from './settings.ts';

export interface Repo {
  did: string;
  name: string;
  knot: string;
  served: boolean;
}

/** The world as the harness holds it; the chaos actor sees only the `World` in it. */
export interface Run {
  readonly world: World;
  readonly database: DatabaseService;
  readonly engine: Engine;
  readonly members: readonly Supervised[];
  /** Where each process tells its metrics. */
  readonly metrics: { name: string; url: string }[];
  readonly repos: readonly Repo[];
  readonly pushes: Push[];
  readonly asked: Asked[];
  readonly disturbances: Disturbance[];
  readonly crashes: Crash[];
  /** Healthy again: every link is mended, every clock right. */
  mend(): void;
  /** Roles first, so that nothing is lost in their drain. */
  stopRoles(): Promise<void>;
  stop(): Promise<void>;
}

export interface WorldOptions {
  seed: number;
  dir: string;
  secrets: Secrets;
  /** Of a pipeline. */
  durations: Durations;
  signal: AbortSignal;
  say(line: string): void;
}

const replicas = 2;
const knotCount = 2;
const wildReaders = 2;
const roleNames: readonly RoleName[] = ['ingest', 'worker', 'server'];
const program = (name: string): string => fileURLToPath(new URL(`./sims/${name}.ts`, import.meta.url));

/** Starts everything, each in a process of its own, joined through links; resolves when all roles are ready. */
export async function startRun({ seed, dir, secrets, durations, signal, say }: WorldOptions): Promise<Run> {
  const stops: (() => Promise<unknown>)[] = [];
  const stop = async (): Promise<void> => {
    for (let each = stops.pop(); each; each = stops.pop()) await each().catch((error: unknown) => say(String(error)));
  };
  try {
    return await startAll();
  } catch (error) {
    await stop();
    throw error;
  }

  async function startAll(): Promise<Run> {
    const links: Link[] = [];
    const link = async (name: string, protocol: Protocol, ...to: string[]): Promise<Link> => {
      const opened = await openLink({ name, protocol, to });
      links.push(opened);
      stops.push(() => opened.close());
      return opened;
    };
    const child = <H extends object>(name: string): RemoteProcess<H> => {
      const started = start<H>(program(name));
      stops.push(() => started.end());
      return started;
    };
    const towards = { postgres: [] as Link[], temporal: [] as Link[] };
    const began = Date.now();
    const ready = (what: string): void => say(`${String(Date.now() - began).padStart(6)} ms  ${what}`);

    const [database, engine] = await Promise.all([
      startDatabase(dir, (address) => towards.postgres.forEach((each) => each.to(address))),
      startEngine(dir, (address) => towards.temporal.forEach((each) => each.to(address))),
    ]);
    stops.push(
      () => database.stop(),
      () => engine.stop(),
    );
    ready('PostgreSQL and Temporal');

    const ci = child<CiControl>('ci');
    const { port: ciPort } = await ci.ask.start({
      seed,
      paceMs: 700,
      token: secrets.token,
      webhookSecret: secrets.webhookSecret,
      oldWebhookSecret: secrets.oldWebhookSecret,
      pipelines,
      secrets: [secrets.token, secrets.webhookSecret],
      hidden: [secrets.authors],
    });
    const knots = await Promise.all(Array.from({ length: knotCount }, (_, n) => link(`knot-${n + 1}`, 'tcp')));
    const tangled = child<TangledControl>('tangled');
    const forge = await tangled.ask.start({
      spindle,
      knotHosts: knots.map(({ port }) => `127.0.0.1:${port}`),
      repos: repositories,
    });
    knots.forEach((each, n) => each.to(`127.0.0.1:${forge.knots[n]}`));
    const pds = await link('pds', 'tcp', `127.0.0.1:${forge.pds}`);
    await tangled.ask.pdsAt(`http://127.0.0.1:${pds.port}`);
    ready('a CI, two knots, and a network of records');

    const crashes: Crash[] = [];
    const ports = await lastingPorts(replicas * (2 + roleNames.length));
    const metrics: Run['metrics'] = [];
    const webhooks = await link('webhooks', 'tcp', ...ports.slice(0, replicas).map((port) => `127.0.0.1:${port}`));
    const face = await link('public', 'tcp', ...ports.slice(replicas, replicas * 2).map((port) => `127.0.0.1:${port}`));
    const common = settings(secrets, forge.owner, durations);

    const member = async (role: RoleName, n: number): Promise<Supervised> => {
      const name = `${role}-${n + 1}`;
      const own: Member['links'] = { postgres: await link(`${name}/postgres`, 'postgres', database.address) };
      towards.postgres.push(own.postgres);
      if (role !== 'server') {
        own.temporal = await link(`${name}/temporal`, 'grpc', engine.address);
        towards.temporal.push(own.temporal);
      }
      if (role === 'worker') own.ci = await link(`${name}/ci`, 'http', `127.0.0.1:${ciPort}`);
      if (role === 'ingest') {
        own.jetstream = await link(`${name}/jetstream`, 'tcp', `127.0.0.1:${forge.jetstream}`);
        own.plc = await link(`${name}/plc`, 'tcp', `127.0.0.1:${forge.plc}`);
      }
      const at = (which: Link | undefined, fallback: number): string => `127.0.0.1:${which?.port ?? fallback}`;
      const env = {
        ...common,
        WHORL_DATABASE_URL: database.urlAt(at(own.postgres, 0)),
        TEMPORAL_ADDRESS: at(own.temporal, 9),
        WHORL_BUILDKITE_API_URL: `http://${at(own.ci, ciPort)}/v2`,
        WHORL_JETSTREAM_URL: `ws://${at(own.jetstream, forge.jetstream)}/subscribe`,
        WHORL_PLC_URL: `http://${at(own.plc, forge.plc)}`,
        WHORL_LISTEN_ADDR: `127.0.0.1:${role === 'server' ? ports[replicas + n] : 0}`,
        WHORL_WEBHOOK_ADDR: `127.0.0.1:${role === 'ingest' ? ports[n] : 0}`,
        WHORL_HEALTH_ADDR: '127.0.0.1:0',
        WHORL_METRICS_ADDR: `127.0.0.1:${ports[replicas * 2 + metrics.length]}`,
      };
      metrics.push({ name, url: `http://${env.WHORL_METRICS_ADDR}/metrics` });
      const started = supervise({ name, role, env, links: own, dir, onCrash: (crash) => crashes.push(crash) });
      stops.push(() => started.stop());
      return started;
    };
    const members: Supervised[] = [];
    for (const role of roleNames) for (let n = 0; n < replicas; n += 1) members.push(await member(role, n));
    const limit = AbortSignal.timeout(60_000);
    const tooLate = new Promise<never>((_, reject) =>
      limit.addEventListener('abort', () => reject(new Error('Whorl was not ready within a minute'))),
    );
    await Promise.race([Promise.all(members.map((each) => each.ready())), tooLate]);
    ready('Whorl: two processes of each role');

    await ci.ask.webhooksTo(`http://127.0.0.1:${webhooks.port}/webhooks/buildkite`);
    const readers = child<ReadersControl>('readers');
    await readers.ask.start({ url: `ws://127.0.0.1:${face.port}`, wild: wildReaders, seed });
    ready('readers');

    const pushes: Push[] = [];
    const asked: Asked[] = [];
    const disturbances: Disturbance[] = [];
    const world: World = {
      members,
      ci: ci.ask,
      tangled: tangled.ask,
      readers: readers.ask,
      links: { webhooks, public: face, knots, pds },
      postgres: database,
      temporal: engine,
      async ask(kind, pipeline, job) {
        const id = randomUUID();
        await insertCommand(database.sql, { id, pipeline, kind, job, by: 'a person' });
        // Only what was taken counts as asked: a person who gets an error knows that nothing was.
        asked.push({ id, kind, pipeline, job: job ?? null, at: Date.now() });
      },
      reset: engine.reset,
      get pushes() {
        return pushes
          .filter(({ served }) => served)
          .map(({ knot, rkey, jobs, at }) => ({
            id: `pipeline/${knot}/${rkey}`,
            knot,
            rkey,
            jobs: jobs.map(({ name }) => name),
            at,
          }));
      },
      disturbed: (disturbance) => void disturbances.push(disturbance),
      signal,
    };
    return {
      world,
      database,
      engine,
      members,
      metrics,
      repos: forge.repos,
      pushes,
      asked,
      disturbances,
      crashes,
      mend() {
        for (const each of links) each.mend();
        for (const each of members) each.clock(0);
      },
      async stopRoles() {
        await Promise.all(members.map((each) => each.stop()));
      },
      stop,
    };
  }
}
