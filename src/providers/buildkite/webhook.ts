import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { Observation } from '../../pipeline/words.ts';
import type { Delivery, ParseWebhook, WebhookResult } from '../provider.ts';
import { observe } from './state.ts';
import { nameOf, stateOf } from './steps.ts';
import {
  type BuildkiteBuild,
  type BuildkiteJob,
  isSlug,
  isStorable,
  parseBuild,
  parseBuildUrl,
  parseJob,
  parseTime,
} from './wire.ts';

export type WebhookMode = 'token' | 'signature';

/** How far the signed time may be from ours, both ways. Buildkite signs at dispatch, so a late delivery is fresh too. */
const windowMs = 5 * 60_000;

type Headers = Record<string, string | string[] | undefined>;

const ignored = (reason: string): WebhookResult => ({ kind: 'ignored', reason });
const refused = (status: 400 | 401, reason: string): WebhookResult => ({ kind: 'refused', status, reason });

/**
 * Reads Buildkite's webhooks. `secrets` gives the token of the notification service, two while it is being changed; with
 * none everything is refused. The mode is that of the service: in `signature` mode a bare token does not count.
 *
 * Whose organisation a build is of is not judged here: only a build that we bound counts, and no webhook can bind one.
 */
export const buildkiteWebhook =
  ({ mode, secrets }: { mode: WebhookMode; secrets: () => string[] }): ParseWebhook =>
  (headers, body, now) => {
    const known = secrets().filter((secret) => secret !== '');
    const genuine = mode === 'token' ? hasToken(headers, known) : hasSignature(headers, body, known, now);
    if (!genuine) return refused(401, 'unauthorized');

    const payload = parseObject(body);
    if (!payload) return refused(400, 'the body is not a JSON object');

    // The body is signed, the header is not.
    const event = textOf(payload['event']) ?? single(headers, 'x-buildkite-event') ?? '';
    if (!/^(build|job)\.[a-z_.]{1,80}$/.test(event)) return ignored(`event ${event.slice(0, 80) || 'without a name'}`);
    const build = parseBuild(payload['build']);
    if (!build) return ignored(`${event} without a build id`);
    const place = placeOf(payload, build);
    if (!place) return ignored(`${event} of build ${build.id} without organization, pipeline and number`);
    const told = observe(build);
    if (!told)
      return ignored(`${event} of build ${build.id} in the unknown state ${build.state?.slice(0, 80) ?? 'none'}`);

    const job = event.startsWith('job.') ? parseJob(payload['job']) : undefined;
    const seen = job ? withJob(told, build, job) : told;
    const { org, pipeline, number } = place;
    const created = parseTime(build.created_at);
    const address = addressOf(build.meta_data);
    const delivery: Delivery = {
      key: keyOf(headers, event, body),
      event,
      build: build.id,
      ref: {
        id: build.id,
        number,
        url: build.web_url ?? null,
        data: { org, pipeline, ...(created === undefined ? {} : { created }) },
      },
      ...(build.rebuilt_from ? { rebuiltFrom: build.rebuilt_from.id } : {}),
      ...(address ? { address } : {}),
      seen,
    };
    return { kind: 'delivery', delivery };
  };

/** What a notice about one job adds: which step, and that its build runs when the build does not say so yet. */
function withJob(seen: Observation, build: BuildkiteBuild, job: BuildkiteJob): Observation {
  const state = stateOf(job);
  if (state === 'waiting' || job.type === 'waiter') return seen;
  const early = seen.status === 'pending' && !build.blocked && build.state !== 'blocked';
  return {
    ...seen,
    ...(early && job.type === 'script' && job.started_at ? { status: 'running' } : {}),
    step: { name: nameOf(job), state },
  };
}

function hasToken(headers: Headers, secrets: string[]): boolean {
  const given = single(headers, 'x-buildkite-token');
  return given !== undefined && anyEqual(digest(given), secrets.map(digest));
}

/** `timestamp=<unix s>,signature=<hex>`: HMAC-SHA256 over `<timestamp>.<raw body>`, keyed by the token's bytes. */
function hasSignature(headers: Headers, body: Uint8Array, secrets: string[], now: number): boolean {
  const pairs = (single(headers, 'x-buildkite-signature') ?? '').split(',').map((pair) => pair.trim().split('='));
  const value = (name: string): string => pairs.find(([key]) => key === name)?.[1] ?? '';
  const timestamp = value('timestamp');
  const signature = value('signature');
  if (!/^\d{1,12}$/.test(timestamp) || !/^[0-9a-f]{64}$/i.test(signature)) return false;
  const ours = secrets.map((secret) => createHmac('sha256', secret).update(`${timestamp}.`).update(body).digest());
  return anyEqual(Buffer.from(signature, 'hex'), ours) && Math.abs(now - Number(timestamp) * 1000) <= windowMs;
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

/** Compares with every candidate in constant time, so that nothing tells which one was close. */
function anyEqual(given: Buffer, candidates: Buffer[]): boolean {
  let equal = false;
  for (const candidate of candidates) if (timingSafeEqual(given, candidate)) equal = true;
  return equal;
}

function parseObject(body: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' && isStorable(value) ? value : undefined;

/** A header that is there exactly once. Names are lower-case, as Node gives them. */
function single(headers: Headers, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? (value.length === 1 ? value[0] : undefined) : value;
}

/** Real payloads have no `organization` and no `build.pipeline`; what they have is the build's API address. */
function placeOf(payload: Record<string, unknown>, build: BuildkiteBuild) {
  const slugIn = (key: string): string | undefined => {
    const value = payload[key];
    return isObject(value) ? textOf(value['slug']) : undefined;
  };
  const said = parseBuildUrl(build.url);
  const org = slugIn('organization') ?? said?.org;
  const pipeline = slugIn('pipeline') ?? said?.pipeline;
  const number = build.number ?? said?.number;
  if (!org || !pipeline || number === undefined || !isSlug(org) || !isSlug(pipeline)) return undefined;
  return { org, pipeline, number };
}

/** All three keys, as tack writes them, or nothing: fewer are somebody else's. */
function addressOf(meta: Record<string, unknown>): Delivery['address'] {
  const knot = textOf(meta['tack:knot']);
  const rkey = textOf(meta['tack:pipeline_rkey']);
  const job = textOf(meta['tack:workflow']);
  return knot && rkey && job ? { knot, rkey, job } : undefined;
}

/** The request id is undocumented, so it helps where it is there and is never required. */
function keyOf(headers: Headers, event: string, body: Uint8Array): string {
  const request = single(headers, 'x-buildkite-request')?.slice(0, 100) ?? '';
  return `${request}/${event}/${createHash('sha256').update(body).digest('hex')}`;
}
