import Fastify, { type FastifyBaseLogger, type FastifyError, type FastifyInstance, LogController } from 'fastify';
import type { Logger } from 'pino';

/**
 * An HTTP app as every role has one: no line for each request, and errors of ours stay in our log.
 */
export function httpApp(log: Logger): FastifyInstance {
  const loggerInstance: FastifyBaseLogger = log;
  const app = Fastify({
    loggerInstance,
    logController: new LogController({ disableRequestLogging: true }),
    // Some clients offer h2c with every request; that is not a reason to refuse it.
    http: { shouldUpgradeCallback: (request) => request.headers.upgrade?.toLowerCase() === 'websocket' },
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
