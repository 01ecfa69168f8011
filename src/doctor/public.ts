import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { WebSocket } from 'ws';
import { isPublic } from '../clients/guard.ts';
import type { ToolConfig } from '../config/index.ts';
import { didDocument, spindleDid } from '../server/identity.ts';
import { ask, type Asked } from './ask.ts';
import { type Check, check, checkWith, fail, lasting, type Need, need, ok, Skip, warn, wordsOf } from './check.ts';

const soonMs = 14 * 86_400_000;

export interface PublicChecks {
  checks: Check[];
  /** Our public face answers, whatever it says. */
  face: Need<Asked>;
}

/** This spindle as the world sees it, by its public name. */
export function publicChecks(config: ToolConfig, url: string, timeoutMs: number): PublicChecks {
  const { hostname, dev, owner } = config;
  const asked = need(async () => {
    if (hostname === undefined) throw new Skip('WHORL_HOSTNAME is not set');
    return ask(new URL('/xrpc/sh.tangled.owner', url), { signal: AbortSignal.timeout(timeoutMs * 0.9) });
  });
  const face = need(async () => {
    try {
      return await asked();
    } catch (error) {
      throw error instanceof Skip ? error : new Skip('the public address does not answer');
    }
  });
  const identity = { hostname: hostname ?? '', owner: owner ?? '', dev };

  return {
    face,
    checks: [
      check('address', '', async () => {
        try {
          const { certificateUntil } = await asked();
          return await address(url, certificateUntil, dev);
        } catch (error) {
          if (error instanceof Skip) throw error;
          const advice =
            'see its DNS, its reverse proxy and that `whorl server` (or `whorl up`) runs; `--url` looks elsewhere';
          return (dev ? warn : fail)(wordsOf(error), advice);
        }
      }),
      checkWith(face, 'owner', '', async (answer) => ownerOf(answer, owner)),
      checkWith(
        face,
        'did.json',
        'see the reverse proxy: /.well-known must reach `whorl server`',
        async (_answer, signal) => {
          const answer = await ask(new URL('/.well-known/did.json', url), { signal });
          return document(answer, identity);
        },
      ),
      checkWith(
        face,
        'events',
        'the reverse proxy must pass WebSockets on (Upgrade and Connection)',
        (_answer, signal) => upgrades(new URL('/events', url), signal),
      ),
    ],
  };
}

async function address(url: string, certificateUntil: Date | undefined, dev: boolean) {
  const { hostname, host } = new URL(url);
  const bare = hostname.replace(/^\[|\]$/g, '');
  const found = isIP(bare) ? [{ address: bare }] : await lookup(bare, { all: true });
  const addresses = found.map(({ address: each }) => each).join(', ');
  const left = certificateUntil === undefined ? undefined : certificateUntil.getTime() - Date.now();
  const secure = left === undefined ? '' : `; its certificate is good for ${lasting(left)}`;
  const all = `${host} answers at ${addresses}${secure}`;
  if (left !== undefined && left < soonMs)
    return warn(all, 'renew the certificate, and see why it did not renew itself');
  if (dev || found.some(({ address: each }) => isPublic(each))) return ok(all);
  const advice = 'ask from a machine outside; appviews and the CI must reach it';
  return warn(`${all}, which is no public address: how the world sees it cannot be told from here`, advice);
}

/** What an appview asks before it counts this spindle as its owner's (tangled core, appview/serververify). */
function ownerOf({ status, body }: Asked, owner: string | undefined) {
  const proxy = 'see the reverse proxy: /xrpc must reach `whorl server`';
  if (status !== 200) return fail(`/xrpc/sh.tangled.owner answers ${status}`, proxy);
  const told = fieldOf(body, 'owner');
  if (typeof told !== 'string') return fail('/xrpc/sh.tangled.owner names no owner', proxy);
  if (owner === undefined) throw new Skip('WHORL_OWNER_DID is not set');
  if (told === owner) return ok(`tells the world that ${owner} runs it`);
  const advice = 'all processes must have the same WHORL_OWNER_DID; restart those that have the old one';
  return fail(`tells the world that ${told} runs it, and not ${owner}`, advice);
}

function document({ status, body }: Asked, identity: Parameters<typeof didDocument>[0]) {
  const advice = 'see the reverse proxy: /.well-known must reach `whorl server`, of the same WHORL_HOSTNAME';
  if (status !== 200) return fail(`/.well-known/did.json answers ${status}`, advice);
  const id = spindleDid(identity.hostname);
  const told = fieldOf(body, 'id');
  if (told !== id) return fail(`names ${typeof told === 'string' ? told : 'nobody'}, and not ${id}`, advice);
  const wanted = didDocument(identity).service[0]?.serviceEndpoint;
  const services = fieldOf(body, 'service');
  const right =
    Array.isArray(services) &&
    services.some((each) => fieldOf(each, 'serviceEndpoint') === wanted && typeof each === 'object');
  return right ? ok(`names ${id}`) : fail(`names no service at ${wanted ?? 'all'}`, advice);
}

/** Opens a reader's connection without a cursor, which is sent nothing old, and leaves. */
function upgrades(url: URL, signal: AbortSignal) {
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return new Promise<ReturnType<typeof ok>>((resolve, reject) => {
    const socket = new WebSocket(url, { perMessageDeflate: false });
    const leave = (): void => socket.terminate();
    signal.addEventListener('abort', leave, { once: true });
    socket.on('open', () => {
      resolve(ok('takes readers of statuses'));
      socket.close(1000);
      setTimeout(leave, 1_000).unref();
    });
    socket.on('error', (error) => reject(new Error(`/events takes no readers: ${error.message}`)));
  });
}

/** A field of an object, or of the JSON text of one. */
function fieldOf(from: unknown, name: string): unknown {
  let value = from;
  if (typeof from === 'string') {
    try {
      value = JSON.parse(from);
    } catch {
      return undefined;
    }
  }
  return typeof value === 'object' && value !== null && name in value
    ? Object.entries(value).find(([key]) => key === name)?.[1]
    : undefined;
}
