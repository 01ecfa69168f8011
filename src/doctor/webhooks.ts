import { createHmac } from 'node:crypto';
import type { BuildkiteConfig, ToolConfig } from '../config/index.ts';
import type { Sql } from '../store/db.ts';
import { type Misses, webhookMisses } from '../store/examine.ts';
import { ask, type Asked } from './ask.ts';
import { type Check, checkWith, fail, type Finding, type Need, need, ok, Skip, warn } from './check.ts';

/** Fewer ends say too little. */
const leastEnds = 20;
const mostMissed = 0.05;
/** Of Buildkite's events, one that tells of no build: it is verified, and nothing of it is kept. */
const ping = JSON.stringify({ event: 'ping' });

/** Whether the CI's webhooks can reach us, are believed, and came. */
export function webhookChecks(
  face: Need<Asked>,
  sql: Need<Sql>,
  { buildkite, dev }: ToolConfig,
  url: string,
  timeoutMs: number,
): Check[] {
  if (!buildkite) {
    const off = async (): Promise<never> => {
      throw new Skip('no CI that sends webhooks is configured');
    };
    return [checkWith(off, 'reachable', '', off)];
  }
  const address = new URL('/webhooks/buildkite', url);
  const post = (headers: Record<string, string>): Promise<Asked> => {
    const signal = AbortSignal.timeout(timeoutMs * 0.9);
    return ask(address, {
      method: 'POST',
      body: ping,
      headers: { ...headers, 'content-type': 'application/json' },
      signal,
    });
  };
  const unsigned = need(async () => {
    await face();
    return post({});
  });
  const refusing = need(async () => {
    const answer = await unsigned().catch(() => undefined);
    if (answer?.status !== 401) throw new Skip('the address of webhooks is not ours');
    if (address.protocol !== 'https:' && !dev) throw new Skip('a secret is not sent without TLS');
    return answer;
  });
  return [
    checkWith(face, 'reachable', `see that ${address.href} leads to an ingest process`, async () =>
      reachable(await unsigned()),
    ),
    checkWith(refusing, 'secret', 'see the log of the ingest processes', async () => {
      const answers = await Promise.all(buildkite.secrets().map((secret) => post(proof(buildkite, secret))));
      return secrets(answers.map(({ status }) => status));
    }),
    checkWith(sql, 'misses', 'see the database', async (on) => misses(await webhookMisses(on, 'buildkite'))),
  ];
}

function proof({ mode }: BuildkiteConfig, secret: string): Record<string, string> {
  if (mode === 'token') return { 'x-buildkite-token': secret };
  const timestamp = `${Math.floor(Date.now() / 1_000)}`;
  const signature = createHmac('sha256', secret).update(`${timestamp}.`).update(ping).digest('hex');
  return { 'x-buildkite-signature': `timestamp=${timestamp},signature=${signature}` };
}

/** Ours refuses what nobody signed with 401 and an empty body, and says 404 in its own words where it has no webhooks. */
function reachable({ status, body, headers }: Asked) {
  if (status === 401 && body === '' && headers['www-authenticate'] === undefined) {
    return ok('/webhooks/buildkite refuses what nobody signed, as it should');
  }
  const found = `/webhooks/buildkite answers ${status} to what nobody signed`;
  if (status === 404) {
    return fail(
      found,
      'the reverse proxy must pass /webhooks on to `whorl ingest` (WHORL_WEBHOOK_ADDR), started with the token',
    );
  }
  if (status >= 200 && status < 300) return fail(found, 'something else answers there: see the reverse proxy');
  return fail(
    found,
    'see the reverse proxy: nothing but Whorl may judge these requests, and bodies of 1 MiB must pass',
  );
}

function secrets(statuses: readonly number[]) {
  if (statuses.every((status) => status === 200))
    return ok('the running process has the same secret as this configuration');
  const [other] = statuses.filter((status) => status !== 200);
  if (other !== 401) throw new Error(`the running process answers ${other} to a signed ping`);
  const advice =
    'give all processes the same WHORL_BUILDKITE_WEBHOOK_SECRET and WHORL_BUILDKITE_WEBHOOK_MODE, restart them, and see that Buildkite has it too';
  return fail('the running process has another secret or mode than this configuration', advice);
}

function misses(found: readonly Misses[]): Finding[] {
  const name = 'misses';
  if (found.length === 0) return [{ name, ...ok('no build has ended within a day') }];
  return found.map(({ organisation, ends, missed }) => {
    const of = found.length > 1 ? `misses ${organisation ?? 'unknown'}` : name;
    const share = missed / ends;
    const text = `of ${ends} ends within a day, no webhook told of ${missed} (${(share * 100).toFixed(1)} %), for ${organisation ?? 'an unknown organisation'}`;
    if (ends < leastEnds || share <= mostMissed) return { name: of, ...ok(text) };
    const advice =
      'see the deliveries of the webhook at Buildkite (Settings, Notification services); until it is mended, statuses come late by some minutes';
    return { name: of, ...warn(text, advice) };
  });
}
