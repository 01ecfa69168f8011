import { randomUUID } from 'node:crypto';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { onTestFinished } from 'vitest';
import { type BuildkiteOptions, type BuildkiteSim, startBuildkite } from '../../sim/buildkite/index.ts';
import type { Build, JobPlan } from '../../sim/buildkite/types.ts';
import { createActivities } from '../../src/activities/index.ts';
import { createLogger, type Logger } from '../../src/log.ts';
import { pipelineId } from '../../src/pipeline/ids.ts';
import { buildkite } from '../../src/providers/buildkite/client.ts';
import type { Limiter, Provider } from '../../src/providers/provider.ts';
import { type AttemptKey, bindBuild, openPost } from '../../src/store/builds.ts';
import type { Sql } from '../../src/store/db.ts';
import { unpackEntries } from '../../src/store/log-chunks.ts';
import { insertPipeline } from '../../src/store/pipelines.ts';
import type { Activities, BringInput } from '../../src/workflows/contract.ts';
import { freshDatabase } from './database.ts';

/** An entry of a log as readers of `/logs` get it. */
export interface Entry {
  kind: 'control' | 'data';
  content: string;
  time: string;
  step_id: number;
  stream?: string;
  step_status?: 'start' | 'end';
  step_kind?: number;
  step_command?: string;
}

export interface Custody {
  sql: Sql;
  databaseUrl: string;
  ci: BuildkiteSim;
  /** A job with a running build of these steps at the CI, bound to its first attempt. */
  build(jobs: JobPlan[]): Promise<{ key: AttemptKey; build: Build }>;
  /** A job without a build. */
  job(): Promise<AttemptKey>;
  activities(more?: Partial<CustodyDeps>): Activities;
  /** What speaks to the simulated CI. */
  provider(): Provider;
  /** One process that brings logs again and again. */
  again(more?: Partial<CustodyDeps>): { bring(input: BringInput): Promise<void> };
  /** Runs the activity once. `triedFor`: how long Temporal has tried it already, ms. */
  bring(input: BringInput, more?: Partial<CustodyDeps> & { triedFor?: number }): Promise<void>;
}

export interface CustodyDeps {
  sql: Sql;
  log: Logger;
  provider: Provider;
  limiter: Limiter;
  secrets: string[];
  maxLogBytes: number;
}

/** Temporal's own log of failures, which are what is tested here. */
export const quiet = new DefaultLogger('ERROR');
const free: Limiter = { reserve: async () => new Date(0), block: async () => {} };

/** A database and a simulated CI, for activities that are called by hand. Ends with the test. */
export async function custody(
  options: BuildkiteOptions & { shared?: boolean } = {},
): Promise<Custody & { close(): Promise<void> }> {
  const database = await freshDatabase({ max: 10 });
  const ci = await startBuildkite({ clock: 'manual', pipelines: ['acme/app'], ...options });
  const close = async (): Promise<void> => {
    await ci.close();
    await database.drop();
  };
  if (!options.shared) onTestFinished(close);
  const { sql } = database;
  const log = createLogger({ level: process.env['WHORL_LOG_LEVEL'] ?? 'silent', format: 'json' });

  const job: Custody['job'] = async () => {
    const rkey = randomUUID();
    const id = pipelineId('knot.example', rkey);
    await insertPipeline(sql, {
      id,
      knot: 'knot.example',
      rkey,
      repo: { did: 'did:plc:alice', name: 'demo' },
      kind: 'push',
      commit: 'a'.repeat(40),
      branch: 'main',
      title: 'push main',
      jobs: [{ name: 'ci.yml', provider: 'buildkite', spec: null, refusal: null }],
    });
    return { pipeline: id, job: 'ci.yml', attempt: 1 };
  };

  const buildkiteWith = (limiter: Limiter): Provider =>
    buildkite({ apiUrl: ci.apiUrl, token: () => ci.token, limiter, log });

  const activities: Custody['activities'] = ({
    provider,
    limiter = free,
    secrets = [],
    maxLogBytes = 2 ** 26,
    ...more
  } = {}) =>
    createActivities({
      sql,
      log,
      providers: { buildkite: provider ?? buildkiteWith(limiter) },
      withheld: () => {},
      secrets: () => secrets,
      maxLogBytes,
      ...more,
    });

  return {
    sql,
    databaseUrl: database.url,
    ci,
    close,
    job,
    activities,
    provider: () => buildkiteWith(free),
    again(more) {
      const { bring } = activities(more);
      return { bring: (input) => new MockActivityEnvironment({}, { logger: quiet }).run(bring, input) };
    },
    async build(jobs) {
      const key = await job();
      ci.script(() => ({ jobs, steps: [] }));
      const build = ci.create('acme', 'app', { commit: 'a'.repeat(40), branch: 'main' });
      const post = await openPost(sql, key, { provider: 'buildkite', nonce: randomUUID(), posts: 0 });
      const url = `https://buildkite.example/acme/app/builds/${build.number}`;
      const ref = { id: build.id, number: build.number, url, data: { org: 'acme', pipeline: 'app' } };
      if (!post || !(await bindBuild(sql, key, post.id, ref))) throw new Error('the build was not bound');
      return { key, build };
    },
    async bring(input, { triedFor = 0, ...more } = {}) {
      const now = Date.now();
      const info = { scheduledTimestampMs: now - triedFor, currentAttemptScheduledTimestampMs: now };
      const environment = new MockActivityEnvironment(info, { logger: quiet });
      await environment.run(activities(more).bring, input);
    },
  };
}

/** The entries of a log in their order; fails when numbers are missing or double. */
export async function entriesOf(sql: Sql, { pipeline, job, attempt }: AttemptKey): Promise<Entry[]> {
  const chunks = await sql<{ n: bigint; count: number; data: Uint8Array }[]>`
    select n, count, data from log_chunks
    where pipeline = ${pipeline} and job = ${job} and attempt = ${attempt} order by n`;
  const entries: Entry[] = [];
  for (const { n, count, data } of chunks) {
    const texts = await unpackEntries(data);
    if (Number(n) !== entries.length || texts.length !== count) throw new Error(`chunk ${n} does not fit`);
    for (const text of texts) entries.push(JSON.parse(text) as Entry);
  }
  return entries;
}

/** A log as a person would read it: `> name`, `< name`, lines. Fails when a line belongs to no open step. */
export function readable(entries: Entry[]): string[] {
  const open = new Map<number, string>();
  let next = 0;
  const lines = entries.map((entry) => {
    const { kind, content, step_id: id, step_status: status } = entry;
    if (kind === 'data') {
      if (!open.has(id)) throw new Error(`"${content}" belongs to step ${id}, which is not open`);
      return content;
    }
    if (status === 'start') {
      if (id !== next) throw new Error(`step ${id} begins where ${next} was expected`);
      next += 1;
      open.set(id, content);
      return `> ${content}`;
    }
    if (open.get(id) !== content) throw new Error(`step ${id} ends as ${content}, and began as ${open.get(id)}`);
    open.delete(id);
    return `< ${content}`;
  });
  return open.size === 0 ? lines : [...lines, `open: ${[...open.values()].join(', ')}`];
}
