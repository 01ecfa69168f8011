import { setTimeout as sleep } from 'node:timers/promises';
import { secondsSince, statusClass } from '../../metrics/bounded.ts';
import { ciRequests } from '../../metrics/index.ts';
import { ProviderError } from '../errors.ts';
import type { Limiter, Limits, Priority } from '../provider.ts';
import { steadyNow } from '../../steady.ts';
import { traced } from '../../tracing/index.ts';
import { describe, reasonIn, thrownFor } from './answers.ts';
import { bucketOf, rateLimits, retryAfter, teller } from './rate.ts';

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
  /** Bytes of the answer that are read: more is an error. */
  maxBytes?: number;
  headers?: Record<string, string>;
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
}

/** An answer whose body is read piece by piece, once, or left with `close`. */
export interface Streamed {
  status: number;
  headers: Headers;
  chunks(): AsyncGenerator<Uint8Array, void, undefined>;
  close(): void;
}

export interface Http {
  /**
   * Makes one request in its rate slot. Resolves for 2xx and for the statuses that `Refusal` covers (4xx except 401, 403
   * and 429), throws `ProviderError` for all else. A POST whose answer never came is `ambiguous`.
   */
  call(request: Request): Promise<Answer | Refusal>;
  /** The same for a body of any size: the time limit is for each silence in it. */
  stream(request: Request): Promise<Streamed | Refusal>;
  limits(): Limits;
}

export const isRefusal = (answer: Answer | Streamed | Refusal): answer is Refusal => 'reason' in answer;

/** A slot this near is waited for; for a later one the caller comes back. */
const patienceMs = 1500;
const jsonCap = 16 * 1024 * 1024;

export function createHttp({ apiUrl, token, limiter, timeoutMs }: HttpOptions): Http {
  let last: Limits = { remaining: null, limit: null, resetAt: null };
  const tell = teller(limiter);

  /** Reads what was answered apart from the body of a success, which is undefined here. */
  const judge = async (request: Request, secret: string, bucket: string, response: Response, patience: Patience) => {
    const { status, headers } = response;
    const said = rateLimits(headers, Date.now());
    if (said) {
      last = said;
      tell(bucket, said);
    }
    if (status >= 200 && status < 300) return undefined;
    const bytes = await readBody(request, response, patience);
    const reason = reasonIn(bytes).replaceAll(secret || '\0', '[token]');
    if (status === 429) {
      const retryAt = retryAfter(headers, bytes, steadyNow());
      // The budget only saves needless requests; the error below carries the time in any case.
      await limiter.block(bucket, retryAt).catch(() => {});
      throw new ProviderError('RateLimited', 'Buildkite’s rate limit is used up', { retryAt });
    }
    const thrown = thrownFor(request, status, reason);
    if (thrown) throw thrown;
    return { status, reason };
  };

  const begin = async (request: Request) => {
    const secret = token();
    const bucket = bucketOf(secret);
    await waitForSlot(limiter, bucket, request);
    const patience = createPatience(timeoutMs, request.signal);
    try {
      const about = {
        name: `${request.method} ${operationOf(request)}`,
        kind: 'client',
        said: { 'whorl.provider': 'buildkite' },
      } as const;
      const response = await traced(about, async (say) => {
        const answer = await send(request, apiUrl, secret, patience);
        say({ 'http.request.method': request.method, 'http.response.status_code': answer.status });
        return answer;
      });
      return { response, patience, refusal: await judge(request, secret, bucket, response, patience) };
    } catch (error) {
      patience.end();
      throw error;
    }
  };

  return {
    limits: () => last,
    async call(request) {
      const { response, patience, refusal } = await begin(request);
      try {
        return refusal ?? { status: response.status, bytes: await readBody(request, response, patience) };
      } finally {
        patience.end();
      }
    },
    async stream(request) {
      const { response, patience, refusal } = await begin(request);
      if (refusal) {
        patience.end();
        return refusal;
      }
      patience.rest();
      return {
        status: response.status,
        headers: response.headers,
        chunks: () => chunksOf(request, response, patience),
        close: patience.end,
      };
    },
  };
}

/** A time limit that can rest and be wound up again. What it stops, or the caller does, is over for good. */
interface Patience {
  readonly signal: AbortSignal;
  readonly ranOut: boolean;
  wind(): void;
  rest(): void;
  /** Leaves the request, whatever was read of it. */
  end(): void;
}

function createPatience(ms: number, caller: AbortSignal): Patience {
  const stop = new AbortController();
  let ranOut = false;
  let timer: NodeJS.Timeout | undefined;
  const patience: Patience = {
    signal: AbortSignal.any([caller, stop.signal]),
    get ranOut() {
      return ranOut;
    },
    wind() {
      clearTimeout(timer);
      timer = setTimeout(() => {
        ranOut = true;
        stop.abort();
      }, ms);
    },
    rest: () => clearTimeout(timer),
    end() {
      clearTimeout(timer);
      stop.abort();
    },
  };
  patience.wind();
  return patience;
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
    const wait = at.getTime() - steadyNow();
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

async function send(request: Request, apiUrl: string, secret: string, patience: Patience): Promise<Response> {
  const began = performance.now();
  const count = (status: string): void =>
    ciRequests.observe({ provider: 'buildkite', operation: operationOf(request), status }, secondsSince(began));
  try {
    const response = await fetch(addressOf(apiUrl, request), {
      method: request.method,
      // A redirect could carry the token elsewhere, or turn a POST into a GET.
      redirect: 'manual',
      headers: {
        authorization: `Bearer ${secret}`,
        'user-agent': 'whorl',
        ...request.headers,
        ...(request.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
      signal: patience.signal,
    });
    count(statusClass(response.status));
    return response;
  } catch (cause) {
    count('none');
    throw broken(request, patience, cause);
  }
}

/** What a call is for, by its method and the name that it has for the rate budget. */
function operationOf({ key, method }: Request): string {
  if (method === 'POST') return 'create';
  const [first = '', second] = key.split('/', 2);
  if (method === 'PUT') return first === 'cancel' || first === 'retry' ? first : 'other';
  if (key.includes('/page/')) return 'search';
  if (second === 'get') return 'read';
  return first === 'log' ? 'log' : 'account';
}

/** The whole body, up to the cap, in the time that is left. */
async function readBody(request: Request, response: Response, patience: Patience): Promise<Buffer> {
  const most = request.maxBytes ?? jsonCap;
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    const body: ReadableStream<Uint8Array> | null = response.body;
    for await (const chunk of body ?? []) {
      chunks.push(chunk);
      size += chunk.length;
      if (size > most) break;
    }
  } catch (cause) {
    throw broken(request, patience, cause);
  }
  if (size <= most) return Buffer.concat(chunks);
  throw new ProviderError('Internal', `Buildkite’s answer to ${describe(request)} is too large to read`, {
    ambiguous: request.method === 'POST',
  });
}

/** The body piece by piece. The clock runs only while a piece is waited for, not while the last one is worked on. */
async function* chunksOf(request: Request, response: Response, patience: Patience) {
  const body: ReadableStream<Uint8Array> | null = response.body;
  const reader = body?.getReader();
  try {
    while (reader) {
      patience.wind();
      const next = await reader.read().catch((cause: unknown) => {
        throw broken(request, patience, cause);
      });
      patience.rest();
      if (next.done) return;
      yield next.value;
    }
  } finally {
    patience.end();
  }
}

/** What a failure of the connection means. */
function broken(request: Request, patience: Patience, cause: unknown): ProviderError {
  const ambiguous = request.method === 'POST' && !neverSent(cause);
  if (request.signal.aborted) return stopped(request.signal, ambiguous);
  const what = patience.ranOut ? 'did not answer in time' : `could not be reached (${codeOf(cause)})`;
  return new ProviderError('Transient', `Buildkite ${what}: ${describe(request)}`, { ambiguous, cause });
}

function addressOf(apiUrl: string, { path, query }: Request): string {
  const address = `${apiUrl}/${path.map((part) => encodeURIComponent(part)).join('/')}`;
  return query ? `${address}?${new URLSearchParams(query).toString()}` : address;
}

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
