import type { ToolConfig } from '../config/index.ts';
import { parseJetstream } from '../forges/tangled/jetstream.ts';
import { subscribeUrl } from '../ingest/jetstream-place.ts';
import type { Sql } from '../store/db.ts';
import { sourceFacts } from '../store/examine.ts';
import { ask } from './ask.ts';
import { type Check, checkWith, fail, lasting, type Need, need, ok, Skip, warn, wordsOf } from './check.ts';
import { behindMs, glance } from './stream.ts';

const behind = { warn: 60_000, fail: 600_000 };
const listenMs = 1_000;

interface Glimpse {
  url: string;
  behindMs?: number;
  error?: string;
}

/** The jetstreams that live records come from, and how far they are read. */
export function jetstreamChecks(ingest: Need<Sql>, { network }: ToolConfig, timeoutMs: number): Check[] {
  const { jetstream: urls } = network;
  if (urls.length === 0) {
    const off = async (): Promise<never> => {
      throw new Skip('WHORL_JETSTREAM_URL is off: only pinned repositories are served');
    };
    return [checkWith(off, 'jetstream', '', off)];
  }
  // Without readers or a database the hosts can be judged all the same.
  const position = need(async () => {
    const sql = await ingest().catch(() => undefined);
    if (!sql) return undefined;
    return (await sourceFacts(sql, ['jetstream']))[0]?.position ?? undefined;
  });
  const glimpses = need(async () => {
    const from = await position();
    return Promise.all(urls.map((url) => look(url, from, AbortSignal.timeout(timeoutMs * 0.9))));
  });
  const read = need(async () => {
    await ingest();
    const lags = (await glimpses()).flatMap(({ behindMs: ms }) => (ms === undefined ? [] : [ms]));
    if (lags.length === 0) throw new Skip('no jetstream answers');
    if ((await position()) === undefined) throw new Skip('it was not read yet');
    return Math.min(...lags);
  });
  return [
    checkWith(glimpses, 'jetstream', '', async (found) => hosts(found)),
    checkWith(read, 'jetstream read', '', async (ms) => lag(ms)),
  ];
}

async function look(url: string, position: bigint | undefined, signal: AbortSignal): Promise<Glimpse> {
  try {
    const http = new URL(url);
    http.protocol = http.protocol === 'wss:' ? 'https:' : 'http:';
    const { skewMs = 0 } = await ask(new URL('/', http), { signal });
    const from = position ?? BigInt(Date.now()) * 1_000_000n;
    const timeOf = (bytes: Buffer): bigint | undefined => {
      const event = parseJetstream(bytes);
      return 'problem' in event ? undefined : event.time;
    };
    const seen = await glance(subscribeUrl(url, from), { timeOf, position, skewMs, listenMs, signal });
    return { url, behindMs: behindMs(seen, skewMs) };
  } catch (error) {
    return { url, error: wordsOf(error) };
  }
}

function hosts(found: readonly Glimpse[]) {
  const bad = found.filter(({ error }) => error !== undefined);
  const told = bad.map(({ url, error }) => `${new URL(url).host}: ${error}`).join('; ');
  const advice = 'see that this machine reaches it, and check WHORL_JETSTREAM_URL; several hosts may be named';
  if (bad.length === found.length) return fail(told, advice);
  if (bad.length > 0) return warn(`${told}; the others answer`, advice);
  return ok(`${found.map(({ url }) => new URL(url).host).join(', ')} ${found.length === 1 ? 'answers' : 'answer'}`);
}

function lag(ms: number) {
  if (ms < behind.warn) return ok('it is read up to now');
  const found = `what happened in the last ${lasting(ms)} is not read yet: new members and repositories wait`;
  const advice = 'see the log of the ingest process that holds it; the records are listed anew meanwhile';
  return ms < behind.fail ? warn(found, advice) : fail(found, advice);
}
