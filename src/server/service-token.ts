import { createHash } from 'node:crypto';
import { z } from 'zod';
import { isDid } from '../forges/tangled/names.ts';

/** A token of service auth (atproto: inter-service authentication), read and not yet verified. */
export interface ServiceToken {
  alg: 'ES256' | 'ES256K';
  claims: Claims;
  /** What is signed. */
  signed: Uint8Array<ArrayBuffer>;
  signature: Uint8Array<ArrayBuffer>;
  /**
   * What the token is known by once it was used: its `jti`, or without one what is signed. Not the whole token, since
   * there are two right signatures for everything that is signed once.
   */
  id: string;
}

export interface Claims {
  /** The account's DID. */
  iss: string;
  aud: string;
  /** The method that it was made for. */
  lxm: string;
  /** Seconds since 1970, as the other times. */
  exp: number;
  iat?: number | undefined;
  nbf?: number | undefined;
}

export type ReadToken = { ok: true; token: ServiceToken } | { ok: false; problem: string };

const seconds = z.number().finite().nonnegative();
const headerShape = z.object({
  alg: z.enum(['ES256', 'ES256K'], { error: 'its alg must be ES256 or ES256K' }),
  typ: z
    .string()
    .refine((typ) => !/^(?:at|refresh|dpop)\+jwt$/i.test(typ), 'it is a token of another kind, and not of service auth')
    .optional(),
  kid: z.string().optional(),
});
const claimsShape = z.object({
  iss: z.string({ error: 'it names no issuer' }).refine(isDid, 'its issuer (iss) is not the DID of an account'),
  aud: z.string({ error: 'it names no audience (aud)' }),
  lxm: z.string({ error: 'it does not say which method (lxm) it is for' }),
  exp: seconds,
  iat: seconds.optional(),
  nbf: seconds.optional(),
  jti: z.string().min(1).optional(),
});

const maxToken = 8 * 1024;
const maxLifeSeconds = 3_600;
const leewaySeconds = 5;
const base64url = /^[\w-]+$/;

/** Takes a token apart. Verifies nothing. */
export function readToken(text: string): ReadToken {
  const parts = text.split('.');
  const [header = '', payload = '', signature = ''] = parts;
  if (text.length > maxToken || parts.length !== 3 || !parts.every((part) => base64url.test(part)))
    return { ok: false, problem: 'it is not a JWT' };
  const head = headerShape.safeParse(jsonOf(header));
  if (!head.success) return { ok: false, problem: problemOf(head.error, 'its header is not that of a JWT') };
  const body = claimsShape.safeParse(jsonOf(payload));
  if (!body.success) return { ok: false, problem: problemOf(body.error, 'its claims are not those of service auth') };
  const { jti, ...claims } = body.data;
  const { alg, kid } = head.data;
  if (kid !== undefined && kid !== '#atproto' && kid !== `${claims.iss}#atproto`)
    return { ok: false, problem: 'it is signed with another key than #atproto' };
  const signed = `${header}.${payload}`;
  return {
    ok: true,
    token: {
      alg,
      claims,
      signed: bytesOf(Buffer.from(signed, 'latin1')),
      signature: bytesOf(Buffer.from(signature, 'base64url')),
      id: createHash('sha256')
        .update(jti === undefined ? `signed ${signed}` : `jti ${jti}`)
        .digest('base64url'),
    },
  };
}

/**
 * Why claims do not count here and now; undefined when they do.
 * @param host of this spindle, with its port if it has one
 * @param now seconds since 1970
 */
export function claimsProblem(claims: Claims, { host, method, now }: { host: string; method: string; now: number }) {
  const { aud, lxm, exp, iat, nbf } = claims;
  if (!isAudience(aud, host)) return `its audience (aud) must be did:web:${host.replaceAll(':', '%3A')}, this spindle`;
  if (lxm !== method) return `it is for another method (lxm) than ${method}`;
  if (now > exp + leewaySeconds) return 'it has expired';
  if (exp > now + maxLifeSeconds + leewaySeconds) return `it counts for longer than ${maxLifeSeconds / 60} minutes`;
  if (iat !== undefined && iat > now + leewaySeconds) return 'it was made (iat) in the future';
  if (iat !== undefined && iat > exp) return 'it expires before it was made';
  if (nbf !== undefined && nbf > now + leewaySeconds) return 'it does not count yet (nbf)';
  return undefined;
}

/** Peers write a port with a colon or `%3A`, and some name the service too (tangled core, `xrpc/serviceauth`). */
function isAudience(aud: string, host: string): boolean {
  const [did = '', service, ...rest] = aud.split('#');
  if (rest.length > 0 || (service !== undefined && service !== 'tangled_spindle')) return false;
  return did.toLowerCase().replaceAll('%3a', ':') === `did:web:${host}`;
}

function jsonOf(part: string): unknown {
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
}

/** Our own sentences; those of the library say nothing to people. */
const problemOf = ({ issues }: z.ZodError, otherwise: string): string => {
  const [issue] = issues;
  return issue && issue.path.length > 0 && issue.message.startsWith('it') ? issue.message : otherwise;
};

const bytesOf = (buffer: Buffer): Uint8Array<ArrayBuffer> => new Uint8Array(buffer);
