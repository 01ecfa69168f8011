import Fastify, { type FastifyBaseLogger, type FastifyError, type FastifyInstance, LogController } from 'fastify';
import type { Logger } from 'pino';
import { statusClass } from '../metrics/bounded.ts';
import { httpRequests } from '../metrics/index.ts';
import { limitSockets, type SocketLimits, type Sockets } from './sockets.ts';

export interface HttpOptions extends SocketLimits {
  /** A request whose head is not there after so long is ended with 408. Default 10 s. */
  headMs?: number | undefined;
  /** The same for a whole request, its body included. Default 20 s. */
  requestMs?: number | undefined;
  /** Whether somebody answers those who ask for a WebSocket. Without, such a request is one like any other. */
  upgrades?: boolean | undefined;
}

/** At the end: for a request that is on its way over a connection that was kept, or is new. */
const lingerMs = 300;

const verbs = new Set(['GET', 'HEAD', 'POST', 'OPTIONS']);

/**
 * An HTTP app as every role has one: no line for each request, and errors of ours stay in our log. Nobody holds it up by
 * connections that say nothing, or nearly nothing.
 */
export function httpApp(log: Logger, options: HttpOptions = {}): FastifyInstance {
  const { headMs = 10_000, requestMs = 20_000, upgrades = false } = options;
  const loggerInstance: FastifyBaseLogger = log;
  const app = Fastify({
    loggerInstance,
    logController: new LogController({ disableRequestLogging: true }),
    // What still comes over a connection that is kept is answered, and ends it.
    return503OnClosing: false,
    requestTimeout: requestMs,
    http: {
      // Some clients offer h2c with every request; that is not a reason to refuse it. And whoever is upgraded where nobody
      // takes it would wait for ever, and hold up the end.
      shouldUpgradeCallback: (request) => upgrades && request.headers.upgrade?.toLowerCase() === 'websocket',
      headersTimeout: headMs,
      requestTimeout: requestMs,
      // Node looks this often for those who are late.
      connectionsCheckingInterval: Math.min(2_000, headMs),
    },
  });
  let sockets: Sockets | undefined;
  app.addHook('onReady', async () => void (sockets = limitSockets(app.server, options)));
  app.addHook('preClose', async () => sockets?.letGo(lingerMs));
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? 'none';
    const method = verbs.has(request.method) ? request.method : 'other';
    httpRequests.observe({ route, method, status: statusClass(reply.statusCode) }, reply.elapsedTime / 1000);
    done();
  });
  app.setErrorHandler<FastifyError>((error, request, reply) => {
    const status = error.statusCode ?? 500;
    const about = { method: request.method, path: request.url.split('?')[0], err: error };
    if (status < 500) {
      log.debug(about, `request refused with ${status}`);
      return reply.code(status).send({ error: error.message });
    }
    log.error(about, 'request failed');
    return reply.code(status).send({ error: 'something went wrong here; it is in the log' });
  });
  app.setNotFoundHandler((_request, reply) => reply.code(404).send({ error: 'there is nothing here' }));
  return app;
}
