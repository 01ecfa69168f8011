import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { AUTHENTICATION_REQUIRED } from './faults.ts';
import type { Faults, OtherAnswer, PartAnswer, RequestAction } from './faults.ts';
import { tooMany } from './limits.ts';
import type { Limiter } from './limits.ts';
import { Refusal } from './refusal.ts';
import type { RequestRecord, RouteName, Token } from './types.ts';
import type { World } from './world.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    route?: RouteName;
    /** Scope that the route wants; unset: any valid token. */
    scope?: string;
    /** True for a route that answers without a token. */
    open?: boolean;
  }
}

/** What every request under `/v2` carries through its hooks. */
interface Passage {
  readonly record: RequestRecord;
  actions: readonly RequestAction[];
  token: Token | undefined;
}

const passages = new WeakMap<FastifyRequest, Passage>();

/** The token whose request this is. Only routes that want one may ask. */
export function callerOf(request: FastifyRequest): Token {
  const token = passages.get(request)?.token;
  if (!token) throw new Refusal(401, AUTHENTICATION_REQUIRED);
  return token;
}

/** Writes into the truth log which build a request was about. */
export function about(request: FastifyRequest, build: RequestRecord['build']): void {
  const passage = passages.get(request);
  if (passage) passage.record.build = build;
}

/**
 * Puts the truth log, faults, rate limits, authentication and scopes before every route of `api`, in this order. A fault
 * comes before the token is looked at, as a broken server would.
 */
export function guard(
  api: FastifyInstance,
  world: World,
  faults: Faults,
  limiter: Limiter,
  requests: RequestRecord[],
  onDone: (record: RequestRecord) => void,
): void {
  api.addHook('onRequest', async (request, reply) => {
    const record: RequestRecord = {
      n: requests.length + 1,
      at: world.now(),
      method: request.method,
      path: request.raw.url ?? request.url,
      route: request.routeOptions.config.route ?? null,
      body: null,
      user: null,
      status: null,
      lost: false,
      fault: null,
      build: null,
    };
    requests.push(record);
    passages.set(request, { record, actions: [], token: undefined });
    void reply.header('X-Request-Id', randomUUID());
  });

  api.addHook('preHandler', async (request, reply) => {
    const passage = passages.get(request);
    if (!passage) return;
    const { record } = passage;
    Object.assign(record, { body: request.body ?? null });
    const token = tokenOf(world, request);
    passage.token = token;
    record.user = token?.user.id ?? null;
    const org = organizationOf(request) ?? token?.organizations?.[0] ?? 'none';
    const allowance = limiter.take(org, token?.user.id ?? 'nobody');
    void reply.headers(allowance.headers);

    passage.actions = faults.forRequest(record);
    record.fault = passage.actions.map((action) => action.name).join(', ') || null;
    world.signal.notify();
    for (const action of passage.actions) {
      const verdict = await action.before?.(record);
      if (verdict) {
        passage.actions = [];
        return obey(verdict, request, reply, record);
      }
    }

    const { scope, open } = request.routeOptions.config;
    if (open) return;
    if (!token) throw new Refusal(401, AUTHENTICATION_REQUIRED);
    if (allowance.exceeded) throw new Refusal(429, '', tooMany(allowance.exceeded));
    void reply.header('X-OAuth-Scopes', token.scopes.join(','));
    if (scope === undefined) return;
    void reply.header('X-Accepted-OAuth-Scopes', scope);
    if (!token.scopes.includes(scope)) throw new Refusal(403, `Your access token doesn't have the ${scope} scope`);
  });

  api.addHook('onSend', async (request, reply, payload) => {
    const passage = passages.get(request);
    let sent = payload;
    for (const action of passage?.actions ?? []) {
      const verdict = passage && (await action.after?.(passage.record));
      if (verdict === 'lose') request.raw.socket.destroy();
      else if (verdict && 'rest' in verdict) {
        const body = typeof payload === 'string' || Buffer.isBuffer(payload) ? payload : '';
        void reply.header('Content-Length', Buffer.byteLength(body));
        sent = Readable.from(partOf(body, verdict, request.raw.socket));
      } else if (verdict) {
        void reply.code(verdict.status).headers({ ...verdict.headers, 'Content-Type': 'application/json' });
        void reply.removeHeader('Content-Length');
        sent = JSON.stringify(verdict.body);
      }
    }
    return sent;
  });

  // On the raw reply, not fastify's onResponse: that one does not come when the socket was destroyed.
  api.addHook('onRequest', async (request, reply) => {
    reply.raw.once('close', () => {
      const record = passages.get(request)?.record;
      if (!record) return;
      if (reply.raw.writableFinished) record.status = reply.statusCode;
      else record.lost = true;
      onDone(record);
      world.signal.notify();
    });
  });
}

/** The beginning of a body as a stream that does not end as it should. */
async function* partOf(payload: string | Buffer, { bytes, rest }: PartAnswer, socket: Socket) {
  yield Buffer.from(payload).subarray(0, bytes);
  if (rest === 'silence') await new Promise<never>(() => {});
  // What was not sent yet would be lost too.
  while (socket.writableLength > 0 && !socket.destroyed) await wait(5);
  throw new Error('cut on purpose');
}

function obey(verdict: OtherAnswer | 'lose', request: FastifyRequest, reply: FastifyReply, record: RequestRecord) {
  if (verdict === 'lose') {
    record.lost = true;
    request.raw.socket.destroy();
    return reply.hijack();
  }
  return reply
    .code(verdict.status)
    .headers(verdict.headers ?? {})
    .send(verdict.body);
}

function tokenOf(world: World, request: FastifyRequest): Token | undefined {
  const given = /^Bearer\s+(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  const token = given === undefined ? undefined : world.tokens.get(given);
  if (!token) return undefined;
  return token.expiresAt !== null && token.expiresAt <= world.now() ? undefined : token;
}

const organizationOf = (request: FastifyRequest): string | undefined =>
  /^\/v2\/organizations\/([^/?]+)/.exec(request.raw.url ?? '')?.[1];
