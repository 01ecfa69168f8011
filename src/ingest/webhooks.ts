import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import type { ParseWebhook } from '../providers/provider.ts';
import type { Sql } from '../store/db.ts';
import { webhooks } from '../metrics/index.ts';
import { type Acceptance, acceptDelivery } from '../store/deliveries.ts';
import { databaseClock } from './database-clock.ts';
import { within } from './within.ts';

export interface WebhookDeps {
  sql: Sql;
  /** The providers that send webhooks, by the name in their address. */
  parsers: Record<string, ParseWebhook>;
  log: Logger;
  /** How long a row may take to be committed. Buildkite waits 5 s for the answer. Default 3 s. */
  deadlineMs?: number;
  /** How many may wait for the database at once; more are turned away at the door. Default 200. */
  waiting?: number;
  /** The time by which signatures are judged. Default: the database's, since ours may be wrong. */
  now?: () => number | Promise<number>;
}

/** Bodies above this are answered with 413. */
const bodyLimit = 1024 * 1024;

const said: Record<Acceptance, string> = {
  stored: 'webhook stored',
  known: 'webhook ignored: it came before',
  foreign: 'webhook ignored: its build is none of ours',
  quarantined: 'webhook put into quarantine: PostgreSQL refuses it',
};

/**
 * `POST /webhooks/<provider>`: verifies, stores, and only then answers 200. Nothing else happens in the request.
 * 401 says nothing about why; 503 means that nothing is known to be stored, and that it may be sent again.
 */
export function webhookRoutes(app: FastifyInstance, deps: WebhookDeps): void {
  const { sql, parsers, log, deadlineMs = 3_000, waiting = 200, now = databaseClock(sql).checked } = deps;
  let inFlight = 0;

  async function receive(request: FastifyRequest<{ Params: { provider: string } }>, reply: FastifyReply) {
    const { provider } = request.params;
    const parse = Object.hasOwn(parsers, provider) ? parsers[provider] : undefined;
    if (!parse) return reply.callNotFound();

    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
    const time = await within(deadlineMs, Promise.resolve(now())).catch((error: unknown) => {
      log.warn({ provider, err: error }, 'webhook not stored: the database does not say what time it is');
      return undefined;
    });
    const result = parse(request.headers, body, time ?? Date.now());
    // What is stored is judged by the right time; what nobody signed may go at once.
    if (time === undefined && result.kind !== 'refused') return later(reply);
    if (result.kind !== 'delivery') webhooks.inc({ provider, outcome: result.kind });
    if (result.kind === 'refused') {
      log.warn({ provider, status: result.status, bytes: body.length }, `webhook refused: ${result.reason}`);
      return reply.code(result.status).send();
    }
    if (result.kind === 'ignored') {
      log.debug({ provider }, `webhook ignored: ${result.reason}`);
      return reply.send();
    }

    const { event, build, address } = result.delivery;
    const about = { provider, event, build, knot: address?.knot, rkey: address?.rkey, workflow: address?.job };
    if (inFlight >= waiting) {
      webhooks.inc({ provider, outcome: 'turned away' });
      log.warn(about, `webhook turned away: ${waiting} others wait for the database`);
      return later(reply);
    }
    inFlight++;
    try {
      const accepted = acceptDelivery(sql, provider, result.delivery).finally(() => inFlight--);
      const acceptance = await within(deadlineMs, accepted);
      webhooks.inc({ provider, outcome: acceptance });
      log[acceptance === 'quarantined' ? 'warn' : 'debug'](about, said[acceptance]);
      return reply.send();
    } catch (error) {
      webhooks.inc({ provider, outcome: 'failed' });
      log.warn(
        { ...about, err: error },
        'webhook not stored: the database did not take it; asking the sender to repeat',
      );
      return later(reply);
    }
  }

  void app.register(async (scope) => {
    // Signatures are over the bytes as they came, so no parser may touch them.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
    scope.post('/webhooks/:provider', { bodyLimit }, receive);
  });
}

const later = (reply: FastifyReply): FastifyReply => reply.code(503).header('retry-after', '5').send();
