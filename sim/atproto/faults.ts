import type { ServerResponse } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';

/** One request as the log keeps it. */
export interface RequestRecord {
  readonly n: number;
  /** when it came, in ms since 1970 by the system's clock */
  readonly at: number;
  readonly method: string;
  /** the `Host` header */
  readonly host: string;
  readonly path: string;
  readonly query: URLSearchParams;
  /** the method's name without its namespace (`listRecords`), or what the simulator calls the path */
  readonly route: string;
  readonly headers: NodeJS.Dict<string | string[]>;
  /** name of the fault that it met */
  fault?: string;
  /** of the answer; undefined until its head was sent, and for ever if it never was */
  status?: number;
  /** when the answer ended, or the caller gave up, in ms */
  endedAt?: number;
}

/** Which requests a fault acts on; every given part must fit. */
export interface RequestMatch {
  readonly route?: string | readonly string[];
  /** the account asked about: `repo` or `did` of the query, or the DID in the path */
  readonly did?: string;
  readonly collection?: string;
  readonly where?: (request: Readonly<RequestRecord>) => boolean;
}

export interface Answer {
  readonly status: number;
  /** text goes out as it is, anything else as JSON */
  readonly body: unknown;
  readonly headers?: Record<string, string>;
}

/** What a fault has in hand. */
export interface Exchange {
  readonly request: RequestRecord;
  readonly response: ServerResponse;
  /** What the route would answer; with a rev, as it would have right after that. */
  answer(asOf?: string): Answer;
  send(answer: Answer): void;
}

/** What happens to a request in the place of a plain answer. Built by the functions below. */
export interface Fault {
  readonly name: string;
  run(exchange: Exchange): Promise<void> | void;
}

/** Takes the request and never answers. */
export const hang = (): Fault => ({ name: 'hangs', run: () => {} });

/** Answers after `ms`, with what is true then. */
export const delay = (ms: number): Fault => ({
  name: `late by ${ms} ms`,
  async run({ answer, send }) {
    await wait(ms, undefined, { ref: false });
    send(answer());
  },
});

/** Breaks the connection without a word. */
export const reset = (): Fault => ({ name: 'reset', run: ({ response }) => void response.destroy() });

export const redirect = (to: string, status = 302): Fault => ({
  name: `redirects to ${to}`,
  run: ({ send }) => send({ status, body: '', headers: { Location: to } }),
});

/** A page for people, as a proxy or a parked domain gives it. */
export const html = (status = 200): Fault => ({
  name: 'HTML',
  run: ({ send }) =>
    send({
      status,
      body: '<!doctype html><html><head><title>Welcome</title></head><body>Nothing here.</body></html>',
      headers: { 'Content-Type': 'text/html; charset=utf-8' },
    }),
});

/** Any other answer; XRPC errors are `{ error, message }`. */
export const instead = (status: number, body: unknown, headers: Record<string, string> = {}): Fault => ({
  name: `answers ${status}`,
  run: ({ send }) => send({ status, body, headers }),
});

/** A server error, 500 unless said otherwise. */
export const broken = (status = 500): Fault =>
  instead(status, { error: 'InternalServerError', message: 'Internal Server Error' });

/** 429 as a PDS sends it; the limit is over `seconds` from now. `retryAfter`: with that header too. */
export const rateLimited = (seconds: number, { retryAfter = true, limit = 3000 } = {}): Fault => ({
  name: 'rate limited',
  run: ({ send }) =>
    send({
      status: 429,
      body: { error: 'RateLimitExceeded', message: 'Rate Limit Exceeded' },
      headers: {
        'RateLimit-Limit': String(limit),
        'RateLimit-Remaining': '0',
        'RateLimit-Reset': String(Math.ceil(Date.now() / 1000) + seconds),
        'RateLimit-Policy': `${limit};w=300`,
        ...(retryAfter && { 'Retry-After': String(seconds) }),
      },
    }),
});

/** 200 with something that is no JSON. */
export const garbage = (): Fault => ({
  name: 'garbage',
  run: ({ send }) =>
    send({ status: 200, body: '{"records":[{"uri":', headers: { 'Content-Type': 'application/json' } }),
});

/** 200, and a body that goes on until the caller hangs up. */
export const endless = (): Fault => ({
  name: 'endless',
  run({ request, response }) {
    const chunk = `${' '.repeat(65_535)}\n`;
    response.writeHead(200, { 'Content-Type': 'application/json' });
    request.status = 200;
    response.write('{"records":[');
    const more = (): void => {
      while (!response.destroyed && response.write(chunk));
    };
    response.on('drain', more);
    more();
  },
});

/** The right answer, a byte every `ms`. */
export const drip = (ms: number): Fault => ({
  name: 'drips',
  async run({ request, response, answer }) {
    const { status, body } = answer();
    response.writeHead(status, { 'Content-Type': 'application/json' });
    request.status = status;
    for (const byte of Buffer.from(JSON.stringify(body))) {
      if (response.destroyed) return;
      response.write(Buffer.from([byte]));
      await wait(ms, undefined, { ref: false });
    }
    response.end();
  },
});

/** Half of the right answer; then the connection breaks. */
export const truncated = (): Fault => ({
  name: 'truncated',
  run({ request, response, answer }) {
    const { status, body } = answer();
    const bytes = Buffer.from(JSON.stringify(body));
    response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': bytes.length });
    request.status = status;
    response.write(bytes.subarray(0, bytes.length >> 1), () => response.destroy());
  },
});

/** What was true right after that rev: a page from a replica that lags. */
export const stale = (rev: string): Fault => ({
  name: `as of ${rev}`,
  run: ({ answer, send }) => send(answer(rev)),
});

/** A fault that waits for what it matches. */
export interface Rule {
  /** how often it acted */
  readonly hits: number;
  remove(): void;
}

/** Stops a request until it is released. */
export interface Hold {
  /** resolves with the request when it is there */
  readonly arrived: Promise<RequestRecord>;
  release(): void;
}

export type Faults = ReturnType<typeof createFaults>;

/** The faults in force. The oldest that fits and has not acted often enough acts. */
export function createFaults() {
  type Armed = { match: RequestMatch; fault: Fault; left: number; hits: number };
  const rules: Armed[] = [];
  const held = new Set<() => void>();

  const add = (match: RequestMatch, fault: Fault, times: number | 'always' = 1): Rule => {
    const armed: Armed = { match, fault, left: times === 'always' ? Infinity : times, hits: 0 };
    rules.push(armed);
    return {
      get hits() {
        return armed.hits;
      },
      remove: () => void rules.splice(rules.indexOf(armed), rules.includes(armed) ? 1 : 0),
    };
  };

  return {
    add,
    /** The fault for this request, used up by asking. */
    take(request: RequestRecord): Fault | undefined {
      const armed = rules.find((rule) => rule.left > 0 && fits(rule.match, request));
      if (!armed) return undefined;
      armed.left--;
      armed.hits++;
      return armed.fault;
    },
    hold(match: RequestMatch, at: 'request' | 'answer'): Hold {
      const { promise: arrived, resolve } = Promise.withResolvers<RequestRecord>();
      const { promise: released, resolve: release } = Promise.withResolvers<void>();
      held.add(release);
      add(match, {
        name: `${at} held`,
        async run({ request, answer, send }) {
          const early = at === 'answer' ? answer() : undefined;
          resolve(request);
          await released;
          send(early ?? answer());
        },
      });
      return { arrived, release };
    },
    clear(): void {
      rules.length = 0;
      for (const release of held) release();
      held.clear();
    },
  };
}

function fits({ route, did, collection, where }: RequestMatch, request: RequestRecord): boolean {
  const { query } = request;
  if (route !== undefined && ![route].flat().includes(request.route)) return false;
  if (collection !== undefined && query.get('collection') !== collection) return false;
  const about = [query.get('repo'), query.get('did'), decodeURIComponent(request.path).split('/')[1]];
  if (did !== undefined && !about.includes(did)) return false;
  return where?.(request) ?? true;
}
