import { type FoundPublicKey, getPublicKeyFromDidController } from '@atcute/crypto';
import {
  type DidDocument,
  getAtprotoHandle,
  getAtprotoVerificationMaterial,
  getPdsEndpoint,
  isAtprotoWebDid,
} from '@atcute/identity';
import {
  AtprotoWebDidDocumentResolver,
  DidDocumentResolutionError,
  PlcDidDocumentResolver,
} from '@atcute/identity-resolver';
import { LRUCache } from 'lru-cache';
import { AccountInactive, ClientError } from './error.ts';
import type { JsonHttp } from './http.ts';
import type { Pace } from './pace.ts';

/** Where accounts live, and what they sign with. */
export interface Identity {
  /**
   * The origin of the account's PDS, from memory or from its DID document.
   * Throws `AccountInactive` when there is no such account (any more), else `ClientError`.
   */
  pdsOf(did: string, signal: AbortSignal): Promise<string>;
  /**
   * The account's signing key, `#atproto` of its DID document, from memory if it was read no longer ago than `maxAgeMs`.
   * Throws like `pdsOf`.
   */
  keyOf(did: string, signal: AbortSignal, maxAgeMs?: number): Promise<SigningKey>;
  /**
   * The handle that its DID document names, in small letters; undefined when there is none. That is only what the account
   * says: `handleClient` tells whose it is. Throws like `pdsOf`.
   */
  handleOf(did: string, signal: AbortSignal): Promise<string | undefined>;
  /** Its PDS from memory; undefined when it would have to be asked for. */
  known(did: string): string | undefined;
  /** It may have moved: the next `pdsOf` asks. */
  forget(did: string): void;
}

/** `jwtAlg` is ES256 (p256) or ES256K (secp256k1). */
export type SigningKey = FoundPublicKey;

export interface IdentityOptions {
  /** For PLC, which the operator has named. */
  open: JsonHttp;
  /** For did:web, which strangers name. */
  guarded: JsonHttp;
  pace: Pace;
  /** Without a slash at its end. */
  plcUrl: string;
  /** Plain http for did:web and PDSs is fine. */
  dev: boolean;
  /** Default an hour. */
  keepMs?: number | undefined;
}

const maxBytes = 256 * 1024;
const maxKnown = 20_000;

export function identityClient({ open, guarded, pace, plcUrl, dev, keepMs = 3_600_000 }: IdentityOptions): Identity {
  const places = new LRUCache<string, string>({ max: maxKnown, ttl: keepMs });
  const keys = new LRUCache<string, { key: SigningKey; readAt: number }>({ max: maxKnown, ttl: keepMs });

  /** The library reads and checks documents; how they are fetched is ours. */
  const fetchBy =
    (http: JsonHttp, signal: AbortSignal, place: (url: URL) => URL) =>
    async (input: string | URL | globalThis.Request): Promise<Response> => {
      const url = place(new URL(input instanceof globalThis.Request ? input.url : input));
      return Response.json(await pace.run(url.origin, signal, () => http.get(url, { maxBytes, signal })));
    };

  const documentOf = async (did: string, signal: AbortSignal): Promise<DidDocument> => {
    const document = await readDocument(did, signal);
    if (document.id === did) return document;
    throw new ClientError('garbage', `the DID document of ${did} is that of ${document.id}`);
  };

  const readDocument = async (did: string, signal: AbortSignal): Promise<DidDocument> => {
    try {
      if (isPlc(did)) {
        // the directory may be behind a path, which the library would drop
        const fetch = fetchBy(open, signal, (url) => new URL(`${plcUrl}${url.pathname}`));
        return await new PlcDidDocumentResolver({ apiUrl: plcUrl, fetch }).resolve(did, { signal });
      }
      if (isAtprotoWebDid(did)) {
        const fetch = fetchBy(guarded, signal, (url) => (dev ? withPlainHttp(url) : url));
        return await new AtprotoWebDidDocumentResolver({ fetch }).resolve(did, { signal });
      }
    } catch (error) {
      if (!(error instanceof DidDocumentResolutionError)) throw error;
      throw failureOf(did, error.cause);
    }
    throw new ClientError('garbage', `${did} is not the DID of an account`);
  };

  return {
    async pdsOf(did, signal) {
      const known = places.get(did);
      if (known !== undefined) return known;
      const document = await documentOf(did, signal);
      const endpoint = getPdsEndpoint(document);
      if (endpoint === undefined) throw new ClientError('garbage', `the DID document of ${did} names no PDS`);
      const { protocol, origin, username, password } = new URL(endpoint);
      if ((protocol !== 'https:' && !dev) || username !== '' || password !== '') {
        throw new ClientError('garbage', `the PDS of ${did} is not at a plain https:// address: ${endpoint}`);
      }
      places.set(did, origin);
      return origin;
    },
    async keyOf(did, signal, maxAgeMs = keepMs) {
      const known = keys.get(did);
      if (known && performance.now() - known.readAt <= maxAgeMs) return known.key;
      const readAt = performance.now();
      const key = signingKeyIn(await documentOf(did, signal), did);
      keys.set(did, { key, readAt });
      return key;
    },
    async handleOf(did, signal) {
      const handle = getAtprotoHandle(await documentOf(did, signal))?.toLowerCase();
      // atproto's word for one that is not valid
      return handle === 'handle.invalid' ? undefined : handle;
    },
    known: (did) => places.get(did),
    forget(did) {
      places.delete(did);
      keys.delete(did);
    },
  };
}

function signingKeyIn(document: DidDocument, did: string): SigningKey {
  const material = getAtprotoVerificationMaterial(document);
  if (!material) throw new ClientError('garbage', `the DID document of ${did} has no key #atproto`);
  try {
    return getPublicKeyFromDidController(material);
  } catch (cause) {
    throw new ClientError('garbage', `the key #atproto in the DID document of ${did} is none that we know`, { cause });
  }
}

const isPlc = (did: string): did is `did:plc:${string}` => /^did:plc:[a-z0-9]+$/.test(did);

function withPlainHttp(url: URL): URL {
  url.protocol = 'http:';
  return url;
}

function failureOf(did: string, cause: unknown): unknown {
  if (cause instanceof ClientError) {
    if (cause.status === 410) return new AccountInactive('deleted', `${did} was given up (${cause.message})`);
    if (cause.status === 404) return new AccountInactive('notfound', `there is no ${did} (${cause.message})`);
    return cause;
  }
  // the signal's reason, or what the library found wrong with the document
  if (!(cause instanceof Error) || cause.name === 'AbortError') return cause;
  return new ClientError('garbage', `the DID document of ${did} is none (${cause.message})`, { cause });
}
