import { verifySig } from '@atcute/crypto';
import { AccountInactive, ClientError } from '../clients/error.ts';
import type { Identity, SigningKey } from '../clients/identity.ts';
import type { UsedToken } from '../store/service-tokens.ts';
import { claimsProblem, readToken, type ServiceToken } from './service-token.ts';
import { later, XrpcRefusal } from './xrpc-error.ts';

/** Who calls, proven by a token. It counts once: whoever acts upon it spends it. */
export interface Caller {
  did: string;
  token: UsedToken;
}

/**
 * The caller behind an `Authorization` header, for one method.
 * Throws `XrpcRefusal`: 403 `Auth` for a token that does not count, 503 when its issuer's key cannot be had now.
 */
export type Authenticate = (authorization: string | undefined, method: string) => Promise<Caller>;

export interface AuthOptions {
  /** Of this spindle, with its port if it has one. */
  hostname: string;
  identity: Pick<Identity, 'keyOf'>;
  /** How long the issuer's key may take. Appviews wait 5 s for an answer. Default 4 s. */
  keyMs?: number | undefined;
  /** A key that was read less than this ago is not read again because of a wrong signature. Default 1 s. */
  freshMs?: number | undefined;
  /** ms since 1970 */
  now?: (() => number) | undefined;
}

/** Verifies tokens of service auth (tangled core, `xrpc/serviceauth`; indigo, `atproto/auth/jwt.go`). */
export function serviceAuth({
  hostname: host,
  identity,
  keyMs = 4_000,
  freshMs = 1_000,
  now = Date.now,
}: AuthOptions): Authenticate {
  return async (authorization, method) => {
    const text = /^bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
    if (text === undefined) throw refused('there is no bearer token of service auth with the call');
    const read = readToken(text);
    if (!read.ok) throw refused(read.problem);
    const { claims, id } = read.token;
    const problem = claimsProblem(claims, { host, method, now: now() / 1_000 });
    if (problem !== undefined) throw refused(problem);

    const signal = AbortSignal.timeout(keyMs);
    const key = (maxAgeMs?: number) =>
      identity.keyOf(claims.iss, signal, maxAgeMs).catch((error: unknown) => {
        throw keyProblem(claims.iss, error);
      });
    // The account may have another key by now.
    if (!(await isSigned(read.token, await key())) && !(await isSigned(read.token, await key(freshMs))))
      throw refused(`it is not signed with the key of ${claims.iss}`);
    return { did: claims.iss, token: { issuer: claims.iss, id, expiresAt: new Date(claims.exp * 1_000) } };
  };
}

const refused = (problem: string): XrpcRefusal =>
  new XrpcRefusal({ status: 403, error: 'Auth', message: `signature verification failed: ${problem}` });

async function isSigned({ alg, signature, signed }: ServiceToken, key: SigningKey): Promise<boolean> {
  if (key.jwtAlg !== alg || signature.length !== 64) return false;
  // Signers of service auth need not choose the lower of the two signatures (atproto, proposal 0014).
  return verifySig(key, signature, signed, { allowMalleableSig: true }).catch(() => false);
}

/** What the account is to blame for is a no; what may pass is not. */
function keyProblem(did: string, error: unknown): XrpcRefusal {
  if (error instanceof AccountInactive) return refused(error.message);
  if (error instanceof ClientError && !mayPass(error))
    return refused(`the key of ${did} cannot be had: ${error.message}`);
  const why = error instanceof ClientError ? error.message : 'there was no answer in time';
  return later(`the key of ${did} cannot be read now: ${why}`);
}

const mayPass = ({ kind, status = 0 }: ClientError): boolean =>
  kind === 'unreachable' || kind === 'timeout' || (kind === 'status' && (status === 429 || status >= 500));
