import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { httpApp } from '../health/http.ts';
import type { Sql } from '../store/db.ts';
import { type EventsOptions, eventStream } from './events.ts';
import { type HubOptions, hub } from './hub.ts';

export interface ServerDeps {
  sql: Sql;
  log: Logger;
  /** The name that forges know us by. */
  hostname: string;
  events?: EventsOptions & HubOptions;
}

/** The public face. Other routes (webhooks, health) may be added before it listens. */
export function buildServer({ sql, log, hostname, events: options }: ServerDeps): FastifyInstance {
  const app = httpApp(log);
  const statuses = hub(sql, log, options);
  const events = eventStream(sql, statuses, log, options);
  let closing = false;

  app.get('/', async (_request, reply) =>
    reply
      .type('text/plain; charset=utf-8')
      .send(`${hostname} is a Tangled spindle, run by Whorl.\n\n/events  statuses\n`),
  );
  app.get('/events', async (_request, reply) =>
    reply.code(426).header('upgrade', 'websocket').send({ error: '/events is a WebSocket' }),
  );

  app.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', (error) => log.debug({ err: error }, 'a socket failed before its upgrade'));
    const [pathname, query] = (request.url ?? '').split('?', 2);
    if (closing) refuse(socket, '503 Service Unavailable');
    else if (pathname === '/events') void events.upgrade(request, socket, head, new URLSearchParams(query));
    else refuse(socket, '404 Not Found');
  });
  app.addHook('onReady', async () => statuses.start());
  app.addHook('preClose', async () => {
    closing = true;
    await events.close();
    await statuses.stop();
  });
  return app;
}

function refuse(socket: Duplex, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}
