import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { insertCommand } from '../src/store/commands.ts';
import { migrate } from '../src/store/migrate.ts';
import type { CiControl, Link, Protocol, ReadersControl, TangledControl, World } from './contract.ts';
import type { Asked, Crash, Disturbance, Push } from './evidence.ts';
import { openLink } from './links/index.ts';
import { type Crew, startCrew } from './crew.ts';
import { takeBackup } from './disaster.ts';
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
  readonly members: Crew['members'];
  /** Where each process tells its metrics. */
  readonly metrics: { name: string; url: string }[];
  readonly repos: readonly Repo[];
  readonly pushes: Push[];
  readonly asked: Asked[];
  readonly disturbances: Disturbance[];
  readonly crashes: Crash[];
  /** Healthy again: every link is mended, every clock right. */
  mend(): void;
  stop(): Promise<void>;
}

export interface WorldOptions {
  seed: number;
  dir: string;
  secrets: Secrets;
  /** Of a pipeline. */
  durations: Durations;
  /** Roots of the releases that processes may run; they begin with the last. */
  releases: World['releases'];
  signal: AbortSignal;
  say(line: string): void;
}

const knotCount = 2;
const wildReaders = 2;
const program = (name: string): string => fileURLToPath(new URL(`./sims/${name}.ts`, import.meta.url));

/** Starts everything, each in a process of its own, joined through links; resolves when all roles are ready. */
export async function startRun({ seed, dir, secrets, durations, releases, signal, say }: WorldOptions): Promise<Run> {
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
    const crew = await startCrew({
      link,
      database,
      engine,
      towards,
      ports: { ci: ciPort, jetstream: forge.jetstream, plc: forge.plc },
      env: settings(secrets, forge.owner, durations),
      dir,
      root: releases.at(-1) ?? releases[0],
      onCrash: (crash) => crashes.push(crash),
    });
    stops.push(() => crew.stop());
    const { members, metrics } = crew;
    const limit = AbortSignal.timeout(60_000);
    const tooLate = new Promise<never>((_, reject) =>
      limit.addEventListener('abort', () => reject(new Error('Whorl was not ready within a minute'))),
    );
    await Promise.race([crew.ready(), tooLate]);
    ready('Whorl: two processes of each role');

    await ci.ask.webhooksTo(`http://127.0.0.1:${crew.links.webhooks.port}/webhooks/buildkite`);
    const readers = child<ReadersControl>('readers');
    await readers.ask.start({ url: `ws://127.0.0.1:${crew.links.public.port}`, wild: wildReaders, seed });
    ready('readers');

    const pushes: Push[] = [];
    const asked: Asked[] = [];
    const disturbances: Disturbance[] = [];
    let restoring = false;
    const world: World = {
      members,
      ci: ci.ask,
      tangled: tangled.ask,
      readers: readers.ask,
      links: { ...crew.links, knots, pds },
      postgres: database,
      temporal: engine,
      async push({ repo: index, branch, files }, jobs) {
        const repo = forge.repos[index];
        if (!repo) throw new Error(`there is no repository ${index}`);
        const pushed = await tangled.ask.push({ repo: index, branch, files });
        const { did, name, served } = repo;
        pushes.push({ ...pushed, branch, did, repo: name, served, jobs: [...jobs] });
      },
      join: crew.join,
      releases,
      async migrate() {
        await migrate(database.sql);
      },
      async backUp() {
        const restore = await takeBackup({ database, engine, crew }, signal);
        return async (dies) => {
          restoring = true;
          await restore(dies).finally(() => (restoring = false));
        };
      },
      async ask(kind, pipeline, job) {
        const id = randomUUID();
        await insertCommand(database.sql, { id, pipeline, kind, job, by: 'a person' });
        // Only what was taken counts as asked: a person who gets an error knows that nothing was.
        asked.push({ id, kind, pipeline, job: job ?? null, at: Date.now() });
      },
      // Nobody resets workflows while a database is restored.
      reset: async (pipeline, to) => !restoring && (await engine.reset(pipeline, to)),
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
      stop,
    };
  }
}
