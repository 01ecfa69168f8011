import { Agent, buildConnector, errors, request, type Dispatcher } from 'undici';
import { ClientError } from './error.ts';
import { type Guard, RefusedAddress } from './guard.ts';
import { retryAt } from './retry-at.ts';
import { secondsSince } from '../metrics/bounded.ts';
import { networkRequests } from '../metrics/index.ts';
import { steadyNow } from '../steady.ts';
import { version } from '../version.ts';

export interface GetOptions {
  maxBytes: number;
  signal: AbortSignal;
}

export interface JsonHttp {
  /**
   * GETs a JSON value. Follows no redirect, and takes no answer that is not JSON by its own word.
   * Throws `ClientError`; or the signal's reason when that was aborted.
   */
  get(url: URL, options: GetOptions): Promise<unknown>;
  /** The same for text in UTF-8, of whatever type: static servers have none for files without an extension. */
  text(url: URL, options: GetOptions): Promise<string>;
  close(): Promise<void>;
}

export interface JsonHttpOptions {
  /** For hosts that strangers name. */
  guard?: Guard | undefined;
  /** For one request, its body included; default 10 s. */
  timeoutMs?: number | undefined;
}

const json = 'application/json';
const isJson = /^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i;
const maxErrorBytes = 64 * 1024;

export function jsonHttp({ guard, timeoutMs = 10_000 }: JsonHttpOptions = {}): JsonHttp {
  const agent = new Agent({
    connect: connector(guard, timeoutMs),
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    allowH2: false,
  });

  const fetched = async (url: URL, accept: string, { maxBytes, signal }: GetOptions): Promise<Buffer> => {
    const deadline = AbortSignal.timeout(timeoutMs);
    const signals = AbortSignal.any([signal, deadline]);
    try {
      const answer = await request(url, {
        dispatcher: agent,
        signal: signals,
        headers: { accept, 'user-agent': `whorl/${version}` },
      });
      if (answer.statusCode < 200 || answer.statusCode > 299) throw await statusError(url, answer);
      const type = header(answer, 'content-type');
      if (accept === json && !isJson.test(type ?? '')) {
        discard(answer);
        throw new ClientError('garbage', `${url.host} answered ${type ?? 'something without a type'}, not JSON`);
      }
      return await readBody(url, answer, maxBytes);
    } catch (cause) {
      if (signal.aborted) throw signal.reason;
      if (deadline.aborted) {
        const message = `${url.host} gave no whole answer within ${timeoutMs / 1000} s`;
        throw new ClientError('timeout', message, { cause });
      }
      throw cause instanceof ClientError ? cause : brokenError(url, cause);
    }
  };

  const counted = async <T>(url: URL, signal: AbortSignal, call: () => Promise<T>): Promise<T> => {
    const began = performance.now();
    const count = (outcome: string): void =>
      networkRequests.observe({ service: serviceOf(url), outcome }, secondsSince(began));
    try {
      const value = await call();
      count('done');
      return value;
    } catch (error) {
      if (!signal.aborted) count(error instanceof ClientError ? error.kind : 'broken');
      throw error;
    }
  };

  return {
    get: (url, options) => counted(url, options.signal, async () => parsed(url, await fetched(url, json, options))),
    text: (url, options) =>
      counted(url, options.signal, async () => (await fetched(url, 'text/plain', options)).toString('utf8')),
    close: () => agent.destroy(),
  };
}

/** Who is asked, by what is asked. */
function serviceOf({ pathname }: URL): string {
  if (pathname.startsWith('/xrpc/sh.tangled.')) return 'knot';
  if (pathname.startsWith('/xrpc/')) return 'pds';
  if (pathname.endsWith('/atproto-did')) return 'handle';
  return pathname.endsWith('/did.json') ? 'did:web' : 'plc';
}

/** Judges each address where the connection to it is made, so that neither DNS nor a kept connection gets around it. */
function connector(guard: Guard | undefined, timeout: number): buildConnector.connector {
  if (!guard) return buildConnector({ timeout, allowH2: false });
  const connect = buildConnector({ timeout, allowH2: false, lookup: guard.lookup });
  return (options, callback) => {
    try {
      guard.check(options.hostname);
    } catch (error) {
      callback(error instanceof Error ? error : new Error(String(error)), null);
      return;
    }
    connect(options, callback);
  };
}

async function readBody(url: URL, { body }: Dispatcher.ResponseData, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    if (!Buffer.isBuffer(chunk)) continue;
    size += chunk.length;
    // leaving the loop closes the connection
    if (size > maxBytes) throw new ClientError('tooBig', `${url.host} answered with more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function parsed(url: URL, bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw new ClientError('garbage', `${url.host} answered something that is not JSON`, { cause });
  }
}

async function statusError(url: URL, answer: Dispatcher.ResponseData): Promise<ClientError> {
  const status = answer.statusCode;
  if (status >= 300 && status < 400) {
    discard(answer);
    return new ClientError('status', `${url.host} answered with a redirect (${status}), which is not followed`, {
      status,
    });
  }
  const { error, message } = await readRefusal(url, answer);
  const said = [error, message].filter((part) => part !== undefined).join(': ');
  return new ClientError('status', `${url.host} answered ${status}${said ? ` (${said})` : ''}`, {
    status,
    xrpcError: error,
    retryAt: retryAt(status, (name) => header(answer, name), steadyNow()),
  });
}

/** What an XRPC error body says; nothing when it is none, such as a proxy's HTML. */
async function readRefusal(
  url: URL,
  answer: Dispatcher.ResponseData,
): Promise<{ error?: string | undefined; message?: string | undefined }> {
  try {
    const body = parsed(url, await readBody(url, answer, maxErrorBytes));
    if (typeof body !== 'object' || body === null) return {};
    const error = 'error' in body && typeof body.error === 'string' ? inLine(body.error) : undefined;
    const message = 'message' in body && typeof body.message === 'string' ? inLine(body.message) : undefined;
    return { error, message };
  } catch (error) {
    if (error instanceof ClientError) return {};
    throw error;
  }
}

const inLine = (text: string): string => text.replaceAll(/\p{Cc}+/gu, ' ').slice(0, 200);

function header(answer: Dispatcher.ResponseData, name: string): string | undefined {
  const value = answer.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** The connection goes with it: nobody reads the rest. */
function discard({ body }: Dispatcher.ResponseData): void {
  body.on('error', () => {}).destroy();
}

function brokenError(url: URL, cause: unknown): ClientError {
  for (let error = cause; error instanceof Error; error = error.cause) {
    if (error instanceof RefusedAddress) return new ClientError('refused-address', error.message, { cause });
  }
  if (cause instanceof errors.HTTPParserError || cause instanceof errors.HeadersOverflowError) {
    return new ClientError('garbage', `${url.host} does not speak HTTP as it should (${cause.message})`, { cause });
  }
  const code = cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : '';
  const why = code || (cause instanceof Error ? cause.message : String(cause));
  return new ClientError('unreachable', `${url.host} could not be reached (${why})`, { cause });
}
