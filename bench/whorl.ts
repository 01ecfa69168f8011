import { once } from 'node:events';
import { Client, Connection } from '@temporalio/client';
import { WebSocket } from 'ws';
import { type BuildkiteSim, startBuildkite } from '../sim/buildkite/index.ts';
import { type KnotSim, startKnot } from '../sim/knot/knot.ts';
import type { Sql } from '../src/store/db.ts';
import { pinRepo } from '../src/store/repos.ts';
import { freshDatabase } from './outbox.ts';
import type { Place } from './place.ts';
import { type RoleUnderTest, settings, startRole } from './roles.ts';
import { now } from './stats.ts';

/** Whorl as operators run it, each role in a process of its own; the CI and the knot are simulated here. */
export interface WhorlUnderTest {
  sql: Sql;
  ci: BuildkiteSim;
  knot: KnotSim;
  client: Client;
  roles: readonly RoleUnderTest[];
  webhookUrl: string;
  /** A push with so many workflow files. Returns the rkey of its trigger. */
  push(jobs: number, name?: string): string;
  /** When the reader of `/events` got a frame, ms; NaN when it did not. */
  frameAt(rkey: string, job: string, status: string): number;
  /** Resolves when the reader has got the frame. */
  shown(rkey: string, job: string, status: string): Promise<void>;
  /** Resolves when the workflow of a push has ended. */
  ended(rkey: string): Promise<void>;
  idOf(rkey: string): string;
  stop(): Promise<void>;
}

export interface WhorlOptions {
  /** Of a database of its own. */
  name: string;
  temporal: string;
  /** Between two states of a build, ms. */
  paceMs: number;
  env?: Record<string, string>;
}

export const jobName = (n: number, name = 'job'): string => `${name}${n}.yml`;

export const webhookSecret = 'bench-webhook-secret';
const repo = { did: 'did:plc:ewvi7nxzyoun6zhxrhs64oiz', name: 'bench' };
const file = 'tack:\n  buildkite:\n    pipeline: app\n';
const log = Buffer.from('+ make\r\nit works\r\n');

export async function startWhorl({ postgresUrl, profileDir }: Place, options: WhorlOptions): Promise<WhorlUnderTest> {
  const { url: databaseUrl, sql } = await freshDatabase(postgresUrl, options.name);
  const { temporal: address, paceMs } = options;
  const ci = await startBuildkite({ clock: 'auto', pace: paceMs, pipelines: ['acme/app'], log: () => log });
  const knot = await startKnot();
  const env = {
    ...settings(databaseUrl),
    WHORL_BUILDKITE_TOKEN: ci.token,
    WHORL_BUILDKITE_ORG: 'acme',
    WHORL_BUILDKITE_ALLOW: '*/* -> acme/*',
    WHORL_BUILDKITE_WEBHOOK_SECRET: webhookSecret,
    WHORL_BUILDKITE_API_URL: ci.apiUrl,
    WHORL_BUILDKITE_RATE: '100000',
    TEMPORAL_ADDRESS: address,
    ...options.env,
  };
  const roles = await Promise.all(['worker', 'ingest', 'server'].map((role) => startRole(role, env, profileDir)));
  const link = (name: string): string => roles.find((role) => name in role.links)?.links[name] ?? '';
  const webhookUrl = `${link('webhooks')}/webhooks/buildkite`;
  ci.webhook({
    url: webhookUrl,
    mode: 'token',
    secret: webhookSecret,
    events: ['build.scheduled', 'build.running', 'build.finished'],
  });
  await pinRepo(sql, { knot: knot.host, ...repo });
  await knot.connected(1);

  const frames = new Map<string, number>();
  const waiting = new Map<string, () => void>();
  const keyOf = (rkey: string, job: string, status: string): string => `${rkey} ${job} ${status}`;
  const reader = new WebSocket(`${link('server').replace('http', 'ws')}/events`);
  reader.on('message', (data: Buffer) => {
    const at = now();
    const { event } = JSON.parse(data.toString()) as { event: { pipeline: string; workflow: string; status: string } };
    const key = keyOf(event.pipeline.split('/').at(-1) ?? '', event.workflow, event.status);
    if (!frames.has(key)) frames.set(key, at);
    waiting.get(key)?.();
    waiting.delete(key);
  });
  await once(reader, 'open');
  const connection = await Connection.connect({ address });
  const client = new Client({ connection });
  const shown = async (rkey: string, job: string, status: string): Promise<void> => {
    const key = keyOf(rkey, job, status);
    if (!frames.has(key)) await new Promise<void>((resolve) => waiting.set(key, resolve));
  };
  const idOf = (rkey: string): string => `pipeline/${knot.host}/${rkey}`;

  return {
    sql,
    ci,
    knot,
    client,
    roles,
    webhookUrl,
    push: (jobs, name) =>
      knot.push({ repo, workflows: Array.from({ length: jobs }, (_, n) => ({ name: jobName(n, name), raw: file })) })
        .rkey,
    frameAt: (rkey, job, status) => frames.get(keyOf(rkey, job, status)) ?? Number.NaN,
    shown,
    async ended(rkey) {
      // Before the first frame there may be no workflow.
      await shown(rkey, jobName(0), 'pending');
      await client.workflow.getHandle(idOf(rkey)).result();
    },
    idOf,
    async stop() {
      reader.close();
      await Promise.all(roles.map((role) => role.stop()));
      await Promise.all([ci.close(), knot.close(), connection.close(), sql.end()]);
    },
  };
}
