import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { httpApp } from '../health/http.ts';
import type { Sql } from '../store/db.ts';
import { watchLog } from '../store/watchers.ts';
import { version } from '../version.ts';
import { addressRate, type RateOptions } from './address-rate.ts';
import type { CallerOptions, Callers } from './callers.ts';
import { type EventsOptions, eventStream } from './events.ts';
import { type HubOptions, hub } from './hub.ts';
import { type Identity, identityRoutes } from './identity.ts';
import { type LogHubOptions, logHub } from './log-hub.ts';
import { isLogPath, logRoutes, type LogsOptions, logStream } from './logs.ts';
import { type PlaceOptions, places } from './places.ts';
import { acceptRawTargets } from './raw-target.ts';
import { refuse } from './refuse.ts';
import { commandProcedures } from './xrpc-commands.ts';
import { upgradeRefusal, xrpcRoutes } from './xrpc.ts';

export interface ServerDeps extends Identity {
  sql: Sql;
  log: Logger;
  events?: EventsOptions & HubOptions;
  logs?: LogsOptions & LogHubOptions;
  /** How many may read at once. */
  readers?: PlaceOptions;
  /** Who may call, and how often. */
  calls?: Omit<RateOptions, 'trustedProxies'> & {
    /** The directory of DIDs, without a slash at its end. Default the public one. */
    plcUrl?: string;
  };
}

/** Connections that are no readers: requests, and what only begins. */
const otherSockets = 1_000;

/** Somebody who reads a log says so again long before this is over. */
const watchForMs = 150_000;

const routes = `
/events                             statuses
/logs/<knot>/<rkey>/<workflow>      the log of a job
/xrpc/sh.tangled.owner              who runs this
/.well-known/did.json               what this is
`;

/** The public face. Other routes (webhooks, health) may be added before it listens. */
export function buildServer({
  sql,
  log,
  events: eventsOptions,
  logs: logsOptions,
  readers: readersOptions,
  calls: callOptions,
  ...identity
}: ServerDeps): FastifyInstance {
  const room = places(log, readersOptions);
  const app = httpApp(log, { most: room.most + otherSockets, upgrades: true });
  const statuses = hub(sql, log, eventsOptions);
  const events = eventStream(sql, statuses, log, eventsOptions);
  const written = logHub(sql, log, {
    watch: async ({ pipeline, job }) => void (await watchLog(sql, { pipeline, job, forMs: watchForMs })),
    ...logsOptions,
  });
  const logs = logStream(sql, written, log, logsOptions);
  const calling = lateCallers({ ...identity, plcUrl: callOptions?.plcUrl });
  const connections = acceptRawTargets(app.server);
  let closing = false;

  app.get('/', async (_request, reply) =>
    reply.type('text/plain; charset=utf-8').send(`${identity.hostname} is a Tangled spindle, run by Whorl.\n${routes}`),
  );
  app.get('/events', async (_request, reply) =>
    reply.code(426).header('upgrade', 'websocket').send({ error: '/events is a WebSocket' }),
  );
  logRoutes(app);
  identityRoutes(app, identity);
  xrpcRoutes(app, {
    queries: { 'sh.tangled.owner': () => ({ owner: identity.owner }), _health: () => ({ version }) },
    procedures: commandProcedures({ sql, log, owner: identity.owner, knot: calling.knot }),
    authenticate: calling.authenticate,
    rate: addressRate({ ...callOptions, trustedProxies: readersOptions?.trustedProxies }),
  });

  app.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', (error) => log.debug({ err: error }, 'a socket failed before its upgrade'));
    const [pathname = '', query] = (request.url ?? '').split('?', 2);
    const asks = pathname === '/events' ? 'events' : isLogPath(pathname) ? 'logs' : undefined;
    const full = closing || !asks ? undefined : room.take(request, socket);
    if (closing) refuse(socket, 503, 'this server is going away; try again', { retryAfter: 1 });
    else if (full) refuse(socket, full.status, full.message, full);
    else if (asks === 'events') void events.upgrade(request, socket, head, new URLSearchParams(query));
    else if (asks === 'logs') void logs.upgrade(request, socket, head, pathname);
    else if (pathname.startsWith('/xrpc/')) refuse(socket, ...upgradeRefusal(pathname));
    else refuse(socket, 404, 'there is nothing here');
  });
  app.addHook('onReady', async () => {
    statuses.start();
    written.start();
  });
  app.addHook('preClose', async () => {
    closing = true;
    connections.close();
    await Promise.all([events.close(), logs.close()]);
    await Promise.all([statuses.stop(), written.stop(), calling.close()]);
  });
  return app;
}

/** Made when somebody calls: what knows accounts and knots takes some 8 MB, and most spindles are hardly ever called. */
function lateCallers(options: CallerOptions): Callers {
  let made: Promise<Callers> | undefined;
  const called = (): Promise<Callers> => (made ??= import('./callers.ts').then(({ callers }) => callers(options)));
  return {
    authenticate: async (...args) => (await called()).authenticate(...args),
    knot: { collaboratorsOf: async (...args) => (await called()).knot.collaboratorsOf(...args) },
    close: async () => (await made)?.close(),
  };
}
