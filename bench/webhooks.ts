import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { startTemporal } from '../src/embedded/temporal.ts';
import { startHooks } from './hooks.ts';
import { atRate } from './load.ts';
import { atMost, type Outcome, type Place } from './place.ts';
import { percentile, rounded } from './stats.ts';
import { openJobs } from './open.ts';
import { jobName, startWhorl, type WhorlUnderTest, webhookSecret } from './whorl.ts';

const rate = 200;
const pipelines = 20;
const jobs = 3;

/**
 * Webhooks at a rate that does not wait for the answers, each timed from when it was due, until its 200: from then on it
 * is on disk. They are what comes in such numbers, steps that began, of builds that run; dispatch and the workflows do
 * their part meanwhile. The floor is a bare route that inserts a row.
 */
export async function webhooks(place: Place): Promise<Outcome> {
  const { say, dir, quick, postgresUrl } = place;
  const seconds = quick ? 10 : 30;
  const temporal = await startTemporal({ dbFile: path.join(dir, 'temporal-webhooks.db'), log: say });
  const whorl = await startWhorl(place, { name: 'bench_webhooks', temporal: temporal.address, paceMs: 1_000 });
  const bodies = await stepsOfOpenBuilds(whorl);
  const hooks = await startHooks(postgresUrl);
  const secret = { 'content-type': 'application/json', 'x-buildkite-token': webhookSecret };
  const post = (url: string) => offer(url, bodies, secret, seconds);
  // Warm connections, statements and code first.
  for (const url of [hooks.url, whorl.webhookUrl]) await offer(url, bodies, secret, 3);

  const bare = await post(hooks.url);
  const before = await rowsOf(whorl);
  const ours = await post(whorl.webhookUrl);
  const stored = (await rowsOf(whorl)) - before;
  hooks.stop();
  await whorl.stop();
  await temporal.stop();

  const shown = (samples: number[]): string =>
    [0.5, 0.99].map((share) => percentile(samples, share).toFixed(1)).join(' / ');
  const [mine, least] = [percentile(ours.ms, 0.99), percentile(bare.ms, 0.99)];
  const missing = rate * seconds - stored;
  say(`webhooks: ${shown(ours.ms)} ms p50/p99 (bare route ${shown(bare.ms)}), ${stored} rows, ${ours.refused} refused`);
  return {
    figures: {
      webhook_ms: { p50: rounded(percentile(ours.ms, 0.5)), p99: rounded(mine) },
      floor_webhook_ms: { p50: rounded(percentile(bare.ms, 0.5)), p99: rounded(least) },
      webhooks_sent: rate * seconds,
      webhooks_stored: stored,
      webhooks_refused: ours.refused,
    },
    lines: [
      {
        name: `webhook at ${rate}/s → on disk and answered`,
        figure: shown(ours.ms),
        unit: 'ms p50/p99',
        floor: { name: 'bare route, one insert', figure: shown(bare.ms) },
        ratio: mine / least,
        goal: atMost(mine, 50, ' ms'),
      },
      {
        name: `  missing, refused of ${(rate * seconds).toLocaleString('en')}`,
        figure: `${missing}, ${ours.refused}`,
        unit: '',
        goal: { text: '0, 0', met: missing === 0 && ours.refused === 0 },
      },
    ],
  };
}

async function rowsOf({ sql }: WhorlUnderTest): Promise<number> {
  const [row] = await sql<[{ count: number }]>`select count(*)::int as count from deliveries`;
  return row.count;
}

/** The CI's own words that a step of each of them began. */
async function stepsOfOpenBuilds(whorl: WhorlUnderTest): Promise<string[]> {
  const { ci, webhookUrl } = whorl;
  openJobs(ci);
  ci.webhook({ url: webhookUrl, mode: 'token', secret: webhookSecret, events: ['job.started'] });
  const pushed = Array.from({ length: pipelines }, () => whorl.push(jobs, 'open'));
  for (const rkey of pushed) for (let n = 0; n < jobs; n += 1) await whorl.shown(rkey, jobName(n, 'open'), 'running');
  const steps = ci.deliveries.filter(({ event }) => event === 'job.started');
  if (steps.length < pipelines * jobs) throw new Error(`only ${steps.length} steps began`);
  return steps.map(({ body }) => body);
}

async function offer(
  url: string,
  bodies: readonly string[],
  headers: Record<string, string>,
  seconds: number,
): Promise<{ ms: number[]; refused: number }> {
  const dispatcher = new Agent({ connections: 100, pipelining: 1 });
  const began = performance.now();
  const ms: number[] = [];
  let refused = 0;
  await atRate(rate, seconds, async (n) => {
    const answer = await request(url, {
      method: 'POST',
      dispatcher,
      headers: { ...headers, 'x-buildkite-request': randomUUID() },
      body: bodies[n % bodies.length] ?? '',
    });
    await answer.body.dump();
    ms.push(performance.now() - (began + (n * 1000) / rate));
    if (answer.statusCode !== 200) refused += 1;
  });
  await dispatcher.close();
  await delay(500);
  return { ms, refused };
}
