import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Failure } from '../../pipeline/failures.ts';
import { ProviderError } from '../errors.ts';
import type { Limiter, Limits, Priority } from '../provider.ts';
import { rateLimits, retryAfter } from './rate.ts';

export interface HttpOptions {
  /** Without a slash at its end: `https://api.buildkite.com/v2`. */
  apiUrl: string;
  /** Asked for each request, so that a new token counts at once. */
  token: () => string;
  limiter: Limiter;
  timeoutMs: number;
}

export interface Request {
  method: 'GET' | 'POST' | 'PUT';
  /** Parts of the path, each encoded here. */
  path: (string | number)[];
  query?: Record<string, string>;
  body?: unknown;
  /** Names the call for the rate budget; a repeated call has the same name. */
  key: string;
  priority: Priority;
  signal: AbortSignal;
  /** Bytes of the answer that are read: more is an error, or with `cut` dropped. */
  maxBytes?: number;
  cut?: boolean;
}

/** An answer of Buildkite that is no success, before it is known what it means for the call. */
export interface Refusal {
  status: number;
  /** Buildkite's own words, in one line. */
  reason: string;
}

export interface Answer {
  status: number;
  bytes: Buffer;
  /** There was more than `maxBytes`. */
  truncated: boolean;
}

export interface Http {
  /**
   * Makes one request in its rate slot. Resolves for 2xx and for the statuses that `Refusal` covers (4xx except 401, 403
   * and 429), throws `ProviderError` for all else. A POST whose answer never came is `ambiguous`.
   */
  call(request: Request): Promise<Answer | Refusal>;
  limits(): Limits;
}

export const isRefusal = (answer: Answer | Refusal): answer is Refusal => 'reason' in answer;

/** A slot this near is waited for; for a later one the caller comes back. */
const patienceMs = 1500;
const jsonCap = 16 * 1024 * 1024;

export function createHttp({ apiUrl, token, limiter, timeoutMs }: HttpOptions): Http {
  let last: Limits = { remaining: null, limit: null, resetAt: null };

  return {
    limits: () => last,
    async call(request) {
      const secret = token();
      // Limits belong to a token's user, whom we may not know yet; one spindle has one token.
      const bucket = `buildkite/${createHash('sha256').update(secret).digest('hex').slice(0, 16)}`;
      await waitForSlot(limiter, bucket, request);
      const deadline = AbortSignal.timeout(timeoutMs);
      const answer = await send(request, apiUrl, secret, deadline);
      last = rateLimits(answer.headers, Date.now()) ?? last;
      const reason = answer.status < 300 ? '' : reasonIn(answer.bytes).replaceAll(secret || '\0', '[token]');
      if (answer.status === 429) {
        const retryAt = retryAfter(answer.headers, answer.bytes, Date.now());
        // The budget only saves needless requests; the error below carries the time in any case.
        await limiter.block(bucket, retryAt).catch(() => {});
        throw new ProviderError('RateLimited', 'Buildkite’s rate limit is used up', { retryAt });
      }
      if (answer.status >= 200 && answer.status < 300) return answer;
      const thrown = thrownFor(request, answer.status, reason);
      if (thrown) throw thrown;
      return { status: answer.status, reason };
    },
  };
}

/**
 * Returns when the call may be made. A slot that was waited for is asked for again, which tells the budget that it is
 * used now; that a second answer lies a little ahead too is the difference of two clocks, so there is no third.
 */
async function waitForSlot(limiter: Limiter, bucket: string, { key, priority, signal }: Request): Promise<void> {
  for (let asked = 0; asked < 2; asked += 1) {
    if (signal.aborted) throw stopped(signal, false);
    let at: Date;
    try {
      at = await limiter.reserve(bucket, key, priority);
    } catch (cause) {
      throw new ProviderError('Transient', 'no slot of the shared rate budget could be had', { cause });
    }
    const wait = at.getTime() - Date.now();
    if (wait > patienceMs) {
      throw new ProviderError('RateLimited', 'the next slot of the rate budget for Buildkite comes later', {
        retryAt: at,
      });
    }
    if (wait <= 0) return;
    await sleep(wait, undefined, { signal }).catch(() => {
      throw stopped(signal, false);
    });
  }
}

async function send(request: Request, apiUrl: string, secret: string, deadline: AbortSignal) {
  const { method, signal } = request;
  const signals = AbortSignal.any([signal, deadline]);
  try {
    const response = await fetch(addressOf(apiUrl, request), {
      method,
      // A redirect could carry the token elsewhere, or turn a POST into a GET.
      redirect: 'manual',
      headers: {
        authorization: `Bearer ${secret}`,
        'user-agent': 'whorl',
        ...(request.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
      signal: signals,
    });
    const { bytes, truncated } = await readBody(response, request.maxBytes ?? jsonCap);
    if (truncated && !request.cut) {
      throw new ProviderError('Internal', `Buildkite’s answer to ${describe(request)} is too large to read`, {
        ambiguous: method === 'POST',
      });
    }
    return { status: response.status, headers: response.headers, bytes, truncated };
  } catch (cause) {
    if (cause instanceof ProviderError) throw cause;
    const ambiguous = method === 'POST' && !neverSent(cause);
    if (signal.aborted) throw stopped(signal, ambiguous);
    const what = deadline.aborted ? 'did not answer in time' : `could not be reached (${codeOf(cause)})`;
    throw new ProviderError('Transient', `Buildkite ${what}: ${describe(request)}`, { ambiguous, cause });
  }
}

async function readBody(response: Response, maxBytes: number): Promise<{ bytes: Buffer; truncated: boolean }> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  const body: ReadableStream<Uint8Array> | null = response.body;
  for await (const chunk of body ?? []) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > maxBytes) break;
  }
  const bytes = Buffer.concat(chunks);
  return { bytes: bytes.subarray(0, maxBytes), truncated: size > maxBytes };
}

function addressOf(apiUrl: string, { path, query }: Request): string {
  const address = `${apiUrl}/${path.map((part) => encodeURIComponent(part)).join('/')}`;
  return query ? `${address}?${new URLSearchParams(query).toString()}` : address;
}

export const describe = ({ method, path }: Request): string => `${method} /${path.join('/')}`;

const stopped = (signal: AbortSignal, ambiguous: boolean): ProviderError =>
  new ProviderError('Transient', 'the call to Buildkite was stopped', { ambiguous, cause: signal.reason });

/** Failures before the first byte went out: these cannot have made a build. */
const unsent = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

const neverSent = (error: unknown): boolean => unsent.has(codeOf(error));

/** fetch hides the reason in `cause`; a host with several addresses gives an AggregateError with a code of its own. */
function codeOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return 'unknown reason';
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.message;
}

/** What a status means whatever was asked; undefined when that depends on the call. */
function thrownFor(request: Request, status: number, reason: string): ProviderError | undefined {
  const fail = (failure: Failure, message: string, ambiguous = false) =>
    new ProviderError(failure, message, { ambiguous });
  const said = reason ? `: ${reason}` : '';
  if (status === 401) {
    return fail('CredentialsRejected', `Buildkite does not accept the API token${said}. Set a valid one, then retry`);
  }
  if (status === 403 || status === 402) {
    return fail(
      'Forbidden',
      `Buildkite does not let the token do ${describe(request)}${said}. Give it the scopes read_builds, write_builds and read_build_logs, and its user access to the pipeline`,
    );
  }
  if (status >= 500 || status === 408 || status < 200) {
    return fail('Transient', `Buildkite answered ${status} to ${describe(request)}${said}`, request.method === 'POST');
  }
  if (status < 400) {
    return fail(
      'TargetMissing',
      `Buildkite answered ${describe(request)} with a redirect. Check the API address and the slugs`,
    );
  }
  return undefined;
}

/** `message` and `errors` of an error body, in one line of bearable length. */
function reasonIn(bytes: Buffer): string {
  const body = parseJson(bytes);
  if (typeof body !== 'object' || body === null) return '';
  const message = 'message' in body && typeof body.message === 'string' ? body.message : '';
  const errors = 'errors' in body && Array.isArray(body.errors) ? body.errors : [];
  const details = errors.flatMap((error: unknown) =>
    typeof error === 'object' && error !== null
      ? [
          Object.values(error)
            .filter((item) => typeof item === 'string')
            .join(' '),
        ]
      : [],
  );
  const line = [message, details.join(', ')].filter((part) => part !== '').join(': ');
  return line.replaceAll(/\p{Cc}+/gu, ' ').slice(0, 300);
}

/** The JSON value in a body, or undefined when it is not JSON. */
export function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}
