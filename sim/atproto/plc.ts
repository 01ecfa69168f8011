import { createHash } from 'node:crypto';
import type { Network } from './network.ts';
import { type Handler, type ServerOptions, startServer } from './server.ts';

export type PlcSim = Awaited<ReturnType<typeof startPlc>>;

/**
 * Starts a directory of DIDs as plc.directory answers, `GET /{did}` (route `did`), and for did:web accounts
 * `/.well-known/did.json` by the `Host` header (route `did.json`): `did:web:localhost%3A9003` is
 * asked for at `localhost:9003`.
 */
export async function startPlc(network: Network, options: ServerOptions = {}) {
  const server = await startServer(options, ({ url, host }): Handler => {
    if (url.pathname === '/.well-known/did.json') {
      const did = `did:web:${host.replace(':', '%3A')}`;
      return { route: 'did.json', answer: () => lookUp(network, did) };
    }
    const did = decoded(url.pathname.slice(1));
    if (did === '_health') return { route: 'health', answer: () => ({ status: 200, body: { version: 'sim' } }) };
    if (!did.startsWith('did:')) return { route: 'none', answer: () => missing(404, `Not found: ${url.pathname}`) };
    if (!/^did:plc:[a-z2-7]{24}$/.test(did) && !network.find(did)) {
      return { route: 'did', answer: () => missing(400, `Not a valid DID: ${did}`) };
    }
    return { route: 'did', answer: () => lookUp(network, did) };
  });
  return {
    ...server,
    /** The did:web that this server answers for, under the name that its host is dialled by. */
    webDid: (name = 'localhost'): string => `did:web:${name}%3A${server.port}`,
  };
}

function lookUp(network: Network, did: string) {
  const account = network.find(did);
  if (!account) return missing(404, `DID not registered: ${did}`);
  if (account.tombstoned) return missing(410, `DID not available: ${did}`);
  return {
    status: 200,
    body: didDocument(network, did),
    headers: { 'Content-Type': 'application/did+ld+json; charset=utf-8' },
  };
}

const missing = (status: number, message: string) => ({ status, body: { message } });

/** An account's DID document, with the context, key and service that the directory writes. */
export function didDocument(network: Network, did: string): Record<string, unknown> {
  return {
    '@context': [
      'https://www.w3.org/ns/did/v1',
      'https://w3id.org/security/multikey/v1',
      'https://w3id.org/security/suites/secp256k1-2019/v1',
    ],
    id: did,
    alsoKnownAs: [`at://${network.find(did)?.handle ?? 'handle.invalid'}`],
    verificationMethod: [
      {
        id: `${did}#atproto`,
        type: 'Multikey',
        controller: did,
        publicKeyMultibase: network.signingKey(did) ?? keyOf(did),
      },
    ],
    service: [{ id: '#atproto_pds', type: 'AtprotoPersonalDataServer', serviceEndpoint: network.endpoint(did) }],
  };
}

/** Looks like a secp256k1 key, the same for each DID every time; nobody can sign with it. */
function keyOf(did: string): string {
  const bytes = Buffer.concat([Buffer.from([0xe7, 0x01, 0x02]), createHash('sha256').update(did).digest()]);
  const digits = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
  let text = '';
  for (let rest = BigInt(`0x${bytes.toString('hex')}`); rest > 0n; rest /= 58n)
    text = digits[Number(rest % 58n)] + text;
  return `z${text}`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
