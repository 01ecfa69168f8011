import type { FastifyInstance, FastifyReply, RouteShorthandOptions } from 'fastify';
import { answerPreflight, openToBrowsers } from './cors.ts';

/** What a query answers: an object that becomes JSON. It changes nothing, and anybody may ask. */
export type Query = () => object | Promise<object>;

/** What a call is refused with. `error` is a word for programs, `message` a sentence for people. */
export interface XrpcError {
  status: number;
  error: string;
  message: string;
}

/** At least three names, the last one a method's (atproto: NSID). */
const nsid = /^[a-zA-Z][a-zA-Z0-9-]{0,62}(?:\.[a-zA-Z0-9-]{1,63})+\.[a-zA-Z][a-zA-Z0-9]{0,62}$/;

/**
 * `/xrpc/*`: the queries, by their NSID. All else is refused in the shape that atproto has for it, whatever the verb or
 * the body: clients read `error` and `message`, and nothing of Fastify's own.
 */
export function xrpcRoutes(app: FastifyInstance, queries: Record<string, Query>): void {
  const known = new Map(Object.entries(queries));
  const shape: RouteShorthandOptions = {
    // Before the body is read: no call of ours has one.
    onRequest: async (request, reply) => {
      if (request.method === 'OPTIONS') return answerPreflight(request, reply);
      const refusal = refusalOf(request.method, methodOf(request), known);
      return refusal && send(reply, refusal);
    },
    errorHandler: (error, request, reply) => {
      request.log.error({ err: error, path: request.url.split('?')[0] }, 'an XRPC call failed');
      const message = 'something went wrong here; it is in the log';
      void send(reply, { status: 500, error: 'InternalServerError', message });
    },
  };
  app.all('/xrpc/*', shape, async (request, reply) =>
    openToBrowsers(reply).send(await known.get(methodOf(request))?.()),
  );
}

/** The path after `/xrpc/`, as it was sent: names of methods need no encoding. */
const methodOf = ({ url }: { url: string }): string => (url.split('?', 1)[0] ?? '').slice('/xrpc/'.length);

const missing = (method: string): XrpcError => ({
  status: 501,
  error: 'MethodNotImplemented',
  message: `this spindle has no method ${method}`,
});

/** Why a method cannot be called in this way; undefined when it can. */
export function refusalOf(verb: string, method: string, known: ReadonlyMap<string, Query>): XrpcError | undefined {
  if (known.has(method)) {
    if (verb === 'GET' || verb === 'HEAD') return undefined;
    return { status: 405, error: 'InvalidRequest', message: `${method} is a query: call it with GET, not ${verb}` };
  }
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

function send(reply: FastifyReply, { status, error, message }: XrpcError): FastifyReply {
  if (status === 405) void reply.header('allow', 'GET, HEAD, OPTIONS');
  return openToBrowsers(reply).code(status).send({ error, message });
}
