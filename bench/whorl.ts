import { once } from 'node:events';
import { Client, Connection } from '@temporalio/client';
import { WebSocket } from 'ws';
import { startBuildkite } from '../sim/buildkite/index.ts';
import { startKnot } from '../sim/knot/knot.ts';
import { openDatabase } from '../src/store/db.ts';
import { migrate } from '../src/store/migrate.ts';
import { pinRepo } from '../src/store/repos.ts';
import type { Load, Round } from './load.ts';
import { settings, startRole } from './roles.ts';
import { now } from './stats.ts';

export interface WhorlUnderTest {
  round(load: Load): Promise<Round>;
  /** History events of a pipeline with one job and three webhooks. */
  eventsOfOneJob(load: Load): Promise<number>;
  stop(): Promise<void>;
}

const repo = { did: 'did:plc:ewvi7nxzyoun6zhxrhs64oiz', name: 'bench' };
const secret = 'bench-webhook-secret';
const file = 'tack:\n  buildkite:\n    pipeline: app\n';

/** Whorl as operators run it, each role in a process of its own; the CI and the knot are simulated here. */
export async function startWhorl(databaseUrl: string, address: string, load: Load): Promise<WhorlUnderTest> {
  const sql = openDatabase(databaseUrl, { max: 2 });
  await migrate(sql);
  const ci = await startBuildkite({ clock: 'auto', pace: load.paceMs, pipelines: ['acme/app'] });
  const knot = await startKnot();
  const env = {
    ...settings(databaseUrl),
    WHORL_BUILDKITE_TOKEN: ci.token,
    WHORL_BUILDKITE_ORG: 'acme',
    WHORL_BUILDKITE_WEBHOOK_SECRET: secret,
    WHORL_BUILDKITE_API_URL: ci.apiUrl,
    WHORL_BUILDKITE_RATE: '100000',
    WHORL_RESEND_AFTER: `${load.resendMs}ms`,
    TEMPORAL_ADDRESS: address,
  };
  const roles = await Promise.all(['worker', 'ingest', 'server'].map((role) => startRole(role, env)));
  const link = (name: string): string => roles.find((role) => name in role.links)?.links[name] ?? '';
  ci.webhook({
    url: `${link('webhooks')}/webhooks/buildkite`,
    mode: 'token',
    secret,
    events: ['build.scheduled', 'build.running', 'build.finished'],
  });
  await pinRepo(sql, { knot: knot.host, ...repo });
  await knot.connected(1);

  const frames = new Map<string, number>();
  const reader = new WebSocket(`${link('server').replace('http', 'ws')}/events`);
  reader.on('message', (data: Buffer) => {
    const at = now();
    const { event } = JSON.parse(data.toString()) as { event: { pipeline: string; workflow: string; status: string } };
    const key = `${event.pipeline.split('/').at(-1)} ${event.workflow} ${event.status}`;
    if (!frames.has(key)) frames.set(key, at);
  });
  await once(reader, 'open');
  const connection = await Connection.connect({ address });
  const client = new Client({ connection });

  const push = (jobs: number): string =>
    knot.push({ repo, workflows: Array.from({ length: jobs }, (_, n) => ({ name: `job${n}.yml`, raw: file })) }).rkey;
  const ended = (rkey: string): Promise<unknown> =>
    retry(() => client.workflow.getHandle(`pipeline/${knot.host}/${rkey}`).result());

  const round = async (given: Load): Promise<Round> => {
    const pushed = new Map<string, number>();
    const runs: Promise<unknown>[] = [];
    await given.each(async () => {
      const at = now();
      const rkey = push(given.jobs);
      pushed.set(rkey, at);
      runs.push(ended(rkey));
    });
    await Promise.all(runs);
    const firsts = new Map<string, number>();
    for (const { route, at, body } of ci.requests) {
      const rkey = route === 'create' ? rkeyOf(body) : undefined;
      if (rkey !== undefined && !firsts.has(rkey)) firsts.set(rkey, at);
    }
    const starts = [...pushed].map(([rkey, at]) => (firsts.get(rkey) ?? Number.NaN) - at);
    const signals = ci.deliveries.flatMap(({ event, build, sentAt }) => {
      const status = event === 'build.running' ? 'running' : event === 'build.finished' ? 'success' : undefined;
      const meta = build && ci.build(build.id).metaData;
      const rkey = meta?.['tack:pipeline_rkey'] ?? '';
      if (!status || sentAt === null || !pushed.has(rkey)) return [];
      return [(frames.get(`${rkey} ${meta?.['tack:workflow']} ${status}`) ?? Number.NaN) - sentAt];
    });
    return { starts, signals };
  };

  return {
    round,
    async eventsOfOneJob() {
      const rkey = push(1);
      await ended(rkey);
      return (await client.workflow.getHandle(`pipeline/${knot.host}/${rkey}`).describe()).historyLength;
    },
    async stop() {
      reader.close();
      await Promise.all(roles.map((role) => role.stop()));
      await Promise.all([ci.close(), knot.close(), connection.close(), sql.end()]);
    },
  };
}

const rkeyOf = (body: unknown): string | undefined =>
  (body as { meta_data?: Record<string, string> } | null)?.meta_data?.['tack:pipeline_rkey'];

/** The workflow may not be there yet. */
async function retry<T>(call: () => Promise<T>): Promise<T> {
  for (let n = 0; ; n += 1) {
    try {
      return await call();
    } catch (error) {
      if (n >= 50 || !(error instanceof Error) || error.name !== 'WorkflowNotFoundError') throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
