import type { FastifyInstance, FastifyReply, FastifyRequest, RouteShorthandOptions } from 'fastify';
import { isUnavailable } from '../store/db.ts';
import type { AddressRate } from './address-rate.ts';
import type { Authenticate, Caller } from './auth.ts';
import { answerPreflight, openToBrowsers } from './cors.ts';
import { invalid, later, type XrpcError, XrpcRefusal } from './xrpc-error.ts';

/** What a query answers: an object that becomes JSON. It changes nothing, and anybody may ask. */
export type Query = () => object | Promise<object>;

/** What a procedure does with the JSON of a verified caller, and answers; undefined: an empty body. */
export type Procedure = (caller: Caller, input: unknown) => Promise<object | undefined>;

export interface XrpcDeps {
  /** By their NSID, as the procedures. */
  queries: Record<string, Query>;
  procedures: Record<string, Procedure>;
  authenticate: Authenticate;
  rate: AddressRate;
  /** How long a procedure may take; appviews wait 5 s. Default 4.5 s. */
  deadlineMs?: number | undefined;
}

type Kind = 'query' | 'procedure';

/** At least three names, the last one a method's (atproto: NSID). */
const nsid = /^[a-zA-Z][a-zA-Z0-9-]{0,62}(?:\.[a-zA-Z0-9-]{1,63})+\.[a-zA-Z][a-zA-Z0-9]{0,62}$/;

/** Of what people ask of a pipeline: names, and nothing that is long. */
const bodyLimit = 64 * 1024;

/**
 * `/xrpc/*`: queries and procedures. All else is refused in the shape that atproto has for it, whatever the verb or the
 * body: clients read `error` and `message`, and nothing of Fastify's own.
 */
export function xrpcRoutes(app: FastifyInstance, deps: XrpcDeps): void {
  const { authenticate, rate, deadlineMs = 4_500 } = deps;
  const queries = new Map(Object.entries(deps.queries));
  const procedures = new Map(Object.entries(deps.procedures));
  const known = new Map<string, Kind>([
    ...[...queries.keys()].map((name) => [name, 'query'] as const),
    ...[...procedures.keys()].map((name) => [name, 'procedure'] as const),
  ]);

  const shape: RouteShorthandOptions = {
    bodyLimit,
    // Before the body is read.
    onRequest: async (request, reply) => {
      if (request.method === 'OPTIONS') return answerPreflight(request, reply);
      const method = methodOf(request);
      const refusal = refusalOf(request.method, method, known);
      if (refusal) return send(reply, refusal, known.get(method));
      if (!procedures.has(method)) return undefined;
      const place = rate.take(request.raw);
      if ('status' in place) return send(reply, tooMany(place));
      reply.raw.once('close', () => place.done());
      return undefined;
    },
    errorHandler: (error, request, reply) => {
      const refusal = error instanceof XrpcRefusal ? error.refusal : refusalFor(error);
      const about = { path: request.url.split('?')[0], err: error };
      if (refusal.status >= 500) request.log.error(about, 'an XRPC call failed');
      else request.log.debug(about, 'an XRPC call was refused');
      void send(reply, refusal);
    },
  };

  const answer = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const method = methodOf(request);
    const procedure = procedures.get(method);
    if (!procedure) return openToBrowsers(reply).send(await queries.get(method)?.());
    const caller = await authenticate(request.headers.authorization, method);
    const said = await inTime(procedure(caller, jsonOf(request.body)), deadlineMs);
    return openToBrowsers(reply).send(said);
  };

  void app.register(async (scope) => {
    // JSON is what callers send, whatever they call it.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
    scope.all('/xrpc/*', shape, answer);
  });
}

/** The path after `/xrpc/`, as it was sent: names of methods need no encoding. */
const methodOf = ({ url }: { url: string }): string => (url.split('?', 1)[0] ?? '').slice('/xrpc/'.length);

const missing = (method: string): XrpcError => ({
  status: 501,
  error: 'MethodNotImplemented',
  message: `this spindle has no method ${method}`,
});

/** Why a method cannot be called in this way; undefined when it can. */
export function refusalOf(verb: string, method: string, known: ReadonlyMap<string, Kind>): XrpcError | undefined {
  const kind = known.get(method);
  if (kind === 'query' && verb !== 'GET' && verb !== 'HEAD') {
    return { status: 405, error: 'InvalidRequest', message: `${method} is a query: call it with GET, not ${verb}` };
  }
  if (kind === 'procedure' && verb !== 'POST') {
    const message = `${method} is a procedure: call it with POST, not ${verb}`;
    return { status: 405, error: 'InvalidRequest', message };
  }
  if (kind) return undefined;
  if (!nsid.test(method)) {
    const message = 'the path after /xrpc/ must be the NSID of a method, such as sh.tangled.owner';
    return { status: 400, error: 'InvalidRequest', message };
  }
  return missing(method);
}

/** What a request for an upgrade is told: no method of ours is a stream. For `refuse`. */
export function upgradeRefusal(pathname: string): [status: number, message: string, more: { error: string }] {
  const method = methodOf({ url: pathname });
  const { status, message, error } = refusalOf('GET', method, new Map()) ?? missing(method);
  return [status, message, { error }];
}

function jsonOf(body: unknown): unknown {
  try {
    return JSON.parse(Buffer.isBuffer(body) ? body.toString('utf8') : '');
  } catch {
    throw invalid('the body must be JSON');
  }
}

async function inTime<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(later('the database did not answer in time; try again')), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

const tooMany = ({ status, retryAfter }: { status: 429 | 503; retryAfter: number }): XrpcError =>
  status === 429
    ? { status, retryAfter, error: 'RateLimitExceeded', message: 'your address has called too often; try again later' }
    : { status, retryAfter, error: 'InternalServerError', message: 'too many calls are under way; try again' };

function refusalFor(error: Error): XrpcError {
  const status = 'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : 500;
  if (status === 413) {
    return { status, error: 'InvalidRequest', message: `the body is larger than ${bodyLimit / 1024} KiB` };
  }
  if (status < 500) return { status, error: 'InvalidRequest', message: error.message };
  if (isUnavailable(error)) return later('the database does not answer; try again').refusal;
  return { status: 500, error: 'InternalServerError', message: 'something went wrong here; it is in the log' };
}

function send(reply: FastifyReply, { status, error, message, retryAfter }: XrpcError, kind?: Kind): FastifyReply {
  if (status === 405) void reply.header('allow', kind === 'procedure' ? 'POST, OPTIONS' : 'GET, HEAD, OPTIONS');
  if (retryAfter !== undefined) void reply.header('retry-after', `${retryAfter}`);
  return openToBrowsers(reply).code(status).send({ error, message });
}
