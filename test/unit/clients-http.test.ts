import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { ClientError } from '../../src/clients/error.ts';
import { jsonHttp } from '../../src/clients/http.ts';
import { retryAt } from '../../src/clients/retry-at.ts';
import { steadyNow } from '../../src/steady.ts';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

async function get(url: string, { timeoutMs = 10_000, maxBytes = 10_000, signal = new AbortController().signal } = {}) {
  const http = jsonHttp({ timeoutMs });
  closing.push(() => http.close());
  return await http.get(new URL(url), { maxBytes, signal });
}

const failing = async (answer: Promise<unknown>): Promise<ClientError> => {
  const error = await answer.then(
    () => new Error('it worked'),
    (thrown: unknown) => thrown,
  );
  if (error instanceof ClientError) return error;
  throw error;
};

const json = { 'content-type': 'application/json' };

test.each(['application/json', 'application/json; charset=utf-8', 'application/did+ld+json', 'Application/JSON'])(
  'an answer in %s is read',
  async (type) => {
    const url = await serve((_request, response) => response.writeHead(200, { 'content-type': type }).end('{"a":[1]}'));
    expect(await get(url)).toEqual({ a: [1] });
  },
);

test('a request says who asks, and for what', async () => {
  let headers: IncomingMessage['headers'] = {};
  const url = await serve((request, response) => {
    headers = request.headers;
    response.writeHead(200, json).end('1');
  });
  await get(url);
  expect(headers['user-agent']).toMatch(/^whorl\/\d+\.\d+\.\d+$/);
  expect(headers).toMatchObject({ accept: 'application/json' });
  // what is not compressed cannot grow
  expect(headers['accept-encoding']).toBeUndefined();
});

test('a host that takes the request and never answers costs the time limit', async () => {
  const url = await serve(() => {});
  const error = await failing(get(url, { timeoutMs: 150 }));
  expect(error).toMatchObject({ kind: 'timeout' });
  expect(error.message).toMatch(/^127\.0\.0\.1:\d+ gave no whole answer within 0\.15 s$/);
});

test('a host that takes the connection and never says a word costs the time limit', async () => {
  const server = createTcpServer(() => {}).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(async () => server.close());
  const { port } = server.address() as AddressInfo;
  expect(await failing(get(`http://127.0.0.1:${port}/`, { timeoutMs: 150 }))).toMatchObject({ kind: 'timeout' });
});

test('a body that comes byte by byte is within the same time limit', async () => {
  let timer: NodeJS.Timeout | undefined;
  const url = await serve((_request, response) => {
    response.writeHead(200, json).write('[');
    timer = setInterval(() => response.write('1,'), 20);
  });
  expect(await failing(get(url, { timeoutMs: 300 }))).toMatchObject({ kind: 'timeout' });
  clearInterval(timer);
});

test('a redirect is not followed', async () => {
  let asked = 0;
  const url = await serve((_request, response) => {
    asked++;
    response.writeHead(302, { ...json, location: '/elsewhere' }).end('{}');
  });
  expect(await failing(get(url))).toMatchObject({ kind: 'status', status: 302 });
  expect(asked).toBe(1);
});

test('a page for people is not an answer', async () => {
  const url = await serve((_request, response) =>
    response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><h1>Welcome</h1>'),
  );
  const error = await failing(get(url));
  expect(error.kind).toBe('garbage');
  expect(error.message).toMatch(/answered text\/html, not JSON$/);
});

test('JSON without its type is not an answer', async () => {
  const url = await serve((_request, response) => response.writeHead(200).end('{}'));
  expect(await failing(get(url))).toMatchObject({ kind: 'garbage' });
});

test('half of a JSON text is not an answer', async () => {
  const url = await serve((_request, response) => response.writeHead(200, json).end('{"records":[{"uri":'));
  expect(await failing(get(url))).toMatchObject({ kind: 'garbage' });
});

test('an answer that breaks off is not an answer', async () => {
  const url = await serve((_request, response) => {
    response.writeHead(200, { ...json, 'content-length': 100 });
    response.write('{"records":[]}', () => response.destroy());
  });
  expect(await failing(get(url))).toMatchObject({ kind: 'unreachable' });
});

test('a body without an end is cut off, and the connection with it', async () => {
  const closed = Promise.withResolvers<void>();
  let sent = 0;
  const url = await serve((_request, response) => {
    const chunk = ' '.repeat(65_536);
    const more = (): void => {
      while (!response.destroyed && response.write(chunk)) sent += chunk.length;
    };
    response.writeHead(200, json).on('drain', more).on('close', closed.resolve);
    more();
  });
  expect(await failing(get(url, { maxBytes: 1_000_000 }))).toMatchObject({ kind: 'tooBig' });
  await closed.promise;
  // what was under way when it was cut off lies in the buffers of two sockets
  expect(sent).toBeLessThan(50_000_000);
});

test('an answer of just the size that is allowed is read, and one byte more is not', async () => {
  const url = await serve((_request, response) => response.writeHead(200, json).end(`"${'a'.repeat(98)}"`));
  expect(await get(url, { maxBytes: 100 })).toHaveLength(98);
  expect(await failing(get(url, { maxBytes: 99 }))).toMatchObject({ kind: 'tooBig' });
});

test('an error body without an end does not hold the caller', async () => {
  const url = await serve((_request, response) => {
    const more = (): void => {
      while (!response.destroyed && response.write('x'.repeat(65_536)));
    };
    response.writeHead(500, json).on('drain', more);
    more();
  });
  expect(await failing(get(url))).toMatchObject({ kind: 'status', status: 500, xrpcError: undefined });
});

test('what an XRPC error says reaches whoever looks, in one line', async () => {
  const url = await serve((_request, response) =>
    response.writeHead(400, json).end('{"error":"RepoNotFound","message":"Could not\\nfind \\u001b[31mit"}'),
  );
  const error = await failing(get(url));
  expect(error).toMatchObject({ kind: 'status', status: 400, xrpcError: 'RepoNotFound' });
  expect(error.message).toMatch(/answered 400 \(RepoNotFound: Could not find {2}?\[31mit\)$/);
});

test('an error page of a proxy is just a status', async () => {
  const url = await serve((_request, response) => response.writeHead(502).end('<h1>Bad Gateway</h1>'));
  const error = await failing(get(url));
  expect(error).toMatchObject({ kind: 'status', status: 502, xrpcError: undefined });
  expect(error.message).toMatch(/answered 502$/);
});

test('a host that nobody listens at is unreachable, and the message says why', async () => {
  const url = await serve(() => {});
  await closing.pop()?.();
  const error = await failing(get(url));
  expect(error.kind).toBe('unreachable');
  expect(error.message).toMatch(/could not be reached \(ECONNREFUSED\)$/);
});

test('what does not speak HTTP is not an answer', async () => {
  const server = createTcpServer((socket) => socket.on('error', () => {}).end('SSH-2.0-OpenSSH\r\n')).listen(
    0,
    '127.0.0.1',
  );
  await once(server, 'listening');
  closing.push(async () => server.close());
  const { port } = server.address() as AddressInfo;
  expect(await failing(get(`http://127.0.0.1:${port}/`))).toMatchObject({ kind: 'garbage' });
});

test('a caller that gives up gets its own reason at once', async () => {
  const url = await serve(() => {});
  const caller = new AbortController();
  const answer = get(url, { signal: caller.signal });
  caller.abort(new Error('the lease is lost'));
  await expect(answer).rejects.toThrow('the lease is lost');
});

test('a caller that gave up before sends nothing', async () => {
  let asked = 0;
  const url = await serve(() => asked++);
  await expect(get(url, { signal: AbortSignal.abort(new Error('stopped')) })).rejects.toThrow('stopped');
  expect(asked).toBe(0);
});

test('429 says when to come back', async () => {
  const url = await serve((_request, response) =>
    response.writeHead(429, { ...json, 'retry-after': '120' }).end('{"error":"RateLimitExceeded"}'),
  );
  const before = Math.floor(steadyNow());
  const { retryAt: at, status } = await failing(get(url));
  expect(status).toBe(429);
  expect(at?.getTime()).toBeGreaterThanOrEqual(before + 120_000);
  expect(at?.getTime()).toBeLessThanOrEqual(steadyNow() + 120_000);
});

const now = Date.parse('2026-11-20T12:00:00Z');
test.each<[what: string, status: number, headers: Record<string, string>, seconds: number | undefined]>([
  ['seconds', 429, { 'retry-after': '30' }, 30],
  ['a date', 429, { 'retry-after': 'Fri, 20 Nov 2026 12:01:00 GMT' }, 60],
  ['the second since 1970, as a PDS says it', 429, { 'ratelimit-reset': `${now / 1000 + 90}` }, 90],
  ['seconds, as others say it', 429, { 'ratelimit-reset': '7' }, 7],
  [
    'a date of a clock that is an hour slow',
    429,
    { date: 'Fri, 20 Nov 2026 11:00:00 GMT', 'retry-after': 'Fri, 20 Nov 2026 11:01:00 GMT' },
    60,
  ],
  [
    'a second of a clock that is an hour fast',
    429,
    { date: 'Fri, 20 Nov 2026 13:00:00 GMT', 'ratelimit-reset': `${now / 1000 + 3690}` },
    90,
  ],
  ['two words: the one that is made for it', 429, { 'retry-after': '5', 'ratelimit-reset': '7' }, 5],
  ['no word', 429, {}, 60],
  ['no sense', 429, { 'retry-after': 'soon' }, 60],
  ['a negative number', 429, { 'retry-after': '-5' }, 60],
  ['now', 429, { 'retry-after': '0' }, 1],
  ['the past', 429, { 'retry-after': 'Fri, 20 Nov 2020 12:00:00 GMT' }, 1],
  ['next year', 429, { 'retry-after': '31536000' }, 3600],
  ['infinity', 429, { 'retry-after': '1e400' }, 3600],
  ['a pause for repair', 503, { 'retry-after': '30' }, 30],
  ['503 without a word', 503, {}, undefined],
  ['another error', 500, { 'retry-after': '30' }, undefined],
])('when to come back: %s', (_what, status, headers, seconds) => {
  const at = retryAt(status, (name) => headers[name], now);
  expect(at?.getTime()).toBe(seconds === undefined ? undefined : now + seconds * 1000);
});
