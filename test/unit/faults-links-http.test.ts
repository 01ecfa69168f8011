import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { Agent, request } from 'undici';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { openLink } from '../../faults/links/index.ts';
import type { Link } from '../../faults/contract.ts';
import { until } from '../support/until.ts';

interface Site {
  server: Server;
  link: Link;
  agent: Agent;
  /** `METHOD /path` of what has reached the server, complete. */
  seen: string[];
  /** The status, and the body as text. */
  ask(path: string, options?: { method?: 'GET' | 'POST'; body?: string | Buffer | Readable }): Promise<string>;
}

type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void;

const echo: Answer = (_, response, body) => void response.end(body);

async function site(answer: Answer = echo): Promise<Site> {
  const seen: string[] = [];
  const server = createServer((asked, response) => {
    void text(asked).then(
      (body) => {
        seen.push(`${asked.method} ${asked.url}`);
        answer(asked, response, body);
      },
      () => {},
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const at = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const link = await openLink({ name: 'ci', protocol: 'http', to: [at] });
  const agent = new Agent({ connections: 2, pipelining: 1 });
  onTestFinished(async () => {
    await agent.destroy();
    await link.close();
    server.close();
    server.closeAllConnections();
  });
  return {
    server,
    link,
    agent,
    seen,
    async ask(path, { method = 'GET', body } = {}) {
      const url = `http://127.0.0.1:${link.port}${path}`;
      const got = await request(url, { method, dispatcher: agent, ...(body === undefined ? {} : { body }) });
      return `${got.statusCode} ${await got.body.text()}`;
    },
  };
}

const failed = async (call: Promise<unknown>): Promise<string> =>
  await call.then(
    () => 'no error',
    (error: unknown) => (error instanceof Error && 'code' in error ? String(error.code) : String(error)),
  );
const ended = /UND_ERR_SOCKET|ECONNRESET/;

test('a link in the middle changes nothing over 2,000 calls with and without bodies on kept connections', async () => {
  const { link, ask, seen } = await site((asked, response, body) => {
    if (asked.url === '/none') response.writeHead(204).end();
    else if (asked.url === '/chunks') {
      for (let n = 0; n < 20; n += 1) response.write(body.slice(0, n * 100));
      response.end();
    } else response.end(`${asked.headers['transfer-encoding'] ?? 'plain'} ${body.length}`);
  });
  const hits: string[] = [];
  const again = (when: 'before' | 'after'): void => {
    link.arm({ when, what: 'call' }, (what) => {
      hits.push(`${when} ${what}`);
      again(when);
      return 'pass';
    });
  };
  again('before');
  again('after');
  const body = 'ü\r\n\r\nGET /false HTTP/1.1\r\n\r\n'.repeat(3_000);
  const pieces = (): Readable => Readable.from([body.slice(0, 1), '0\r\n\r\n', body, 'x']);
  for (let round = 0; round < 50; round += 1) {
    await Promise.all(
      Array.from({ length: 10 }, async () => {
        expect(await ask('/get?x=1')).toBe('200 plain 0');
        expect(await ask('/none', { method: 'POST', body: '' })).toBe('204 ');
        expect(await ask('/post', { method: 'POST', body })).toBe(`200 plain ${body.length}`);
        if (round % 10 === 0) {
          expect(await ask('/post', { method: 'POST', body: pieces() })).toBe(`200 chunked ${body.length + 7}`);
          expect(await ask('/chunks', { method: 'POST', body })).toHaveLength(4 + 19_000);
        } else expect(await ask('/get')).toBe('200 plain 0');
      }),
    );
  }
  expect(hits.filter((hit) => hit.startsWith('before')).map((hit) => hit.slice(7))).toHaveLength(seen.length);
  expect(hits.filter((hit) => hit.startsWith('after'))).toHaveLength(seen.length);
  expect(hits.filter((hit) => hit.endsWith('GET /get?x=1'))).toHaveLength(1_000);
  expect(link.open).toBeLessThanOrEqual(2);
});

test('a call that is dropped before it is passed on never reaches the server, and after it the server has answered', async () => {
  const { link, ask, seen } = await site();
  expect(await ask('/first')).toBe('200 ');
  const before = link.arm({ when: 'before', what: 'call', match: /^POST \/builds/ }, () => 'drop');
  expect(await ask('/other')).toBe('200 ');
  expect(await failed(ask('/builds?a=b', { method: 'POST', body: 'x' }))).toMatch(ended);
  expect(await before.hit).toBe('POST /builds?a=b');
  const after = link.arm({ when: 'after', what: 'call', match: /^POST \/builds/ }, () => 'drop');
  expect(await failed(ask('/builds', { method: 'POST', body: 'x'.repeat(1_000_000) }))).toMatch(ended);
  expect(await after.hit).toBe('POST /builds');
  expect(seen).toEqual(['GET /first', 'GET /other', 'POST /builds']);
  expect(await ask('/last')).toBe('200 ');
});

test('a number makes a call, or its answer, so much later', async () => {
  const { link, ask, seen } = await site();
  for (const when of ['before', 'after'] as const) {
    seen.length = 0;
    const start = performance.now();
    const armed = link.arm({ when, what: 'call' }, () => 150);
    let answered = false;
    const call = ask('/slow').finally(() => (answered = true));
    await armed.hit;
    expect([answered, seen.length]).toEqual([false, when === 'before' ? 0 : 1]);
    expect(await call).toBe('200 ');
    expect(performance.now() - start).toBeGreaterThanOrEqual(149);
  }
});

test('fetch goes through a link as well, and a signal in a decision comes before the answer', async () => {
  const { link } = await site();
  const order: string[] = [];
  const armed = link.arm({ when: 'after', what: 'call' }, () => {
    order.push('decided');
    return 'pass';
  });
  const got = await fetch(`http://127.0.0.1:${link.port}/`, { method: 'POST', body: 'words' });
  order.push(await got.text());
  await armed.hit;
  expect(order).toEqual(['decided', 'words']);
});

test('an interim answer is none, and an early answer to half a request is none of the points', async () => {
  const { server, link, seen } = await site();
  server.on('checkContinue', (asked: IncomingMessage, response: ServerResponse) => {
    response.writeContinue();
    response.writeEarlyHints({ link: '</a>; rel=preload' });
    void text(asked).then((body) => {
      seen.push('continued');
      response.end(body);
    });
  });
  const after = link.arm({ when: 'after', what: 'call' }, (what) => {
    seen.push(what);
    return 'pass';
  });
  const socket = connect(link.port, '127.0.0.1');
  onTestFinished(() => void socket.destroy());
  const got: string[] = [];
  socket.on('data', (chunk) => void got.push(String(chunk)));
  socket.write('POST /one HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-');
  await new Promise(setImmediate);
  socket.write('Length: 5\r\n\r\n');
  await until('both interim answers', () => got.join('').includes('preload'));
  expect(seen).toEqual([]);
  socket.write('hello');
  await until('the answer', () => got.join('').endsWith('hello'));
  expect(await after.hit).toBe('POST /one');
  expect(seen).toEqual(['continued', 'POST /one']);

  server.removeAllListeners('request');
  server.on('request', (_, response: ServerResponse) => void response.end('early'));
  const none = link.arm({ when: 'after', what: 'call' }, () => 'drop');
  socket.write('POST /two HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel');
  await until('the early answer', () => got.join('').endsWith('early'));
  none.disarm();
  expect(await none.hit).toBeUndefined();
});

test('an upgrade passes everything unread from then on, both ways', async () => {
  const { server, link } = await site();
  const sockets = new WebSocketServer({ server });
  onTestFinished(() => sockets.close());
  sockets.on('connection', (socket) => void socket.on('message', (data, binary) => socket.send(data, { binary })));
  const before = link.arm({ when: 'before', what: 'call' }, () => 'pass');
  const after = link.arm({ when: 'after', what: 'call' }, () => 'pass');
  const client = new WebSocket(`ws://127.0.0.1:${link.port}/events?cursor=1`);
  onTestFinished(() => client.terminate());
  await once(client, 'open');
  expect([await before.hit, await after.hit]).toEqual(['GET /events?cursor=1', 'GET /events?cursor=1']);
  const none = link.arm({ when: 'before', what: 'call' }, () => 'drop');
  for (const words of ['GET / HTTP/1.1\r\n\r\n', 'x'.repeat(1_000_000)]) {
    const heard = once(client, 'message');
    client.send(words);
    expect(String((await heard)[0]) === words).toBe(true);
  }
  none.disarm();
  expect(await none.hit).toBeUndefined();
});

test('what is not HTTP passes unread', async () => {
  const { link } = await site();
  const odd = await openLink({ name: 'odd', protocol: 'http', to: [`127.0.0.1:${link.port}`] });
  onTestFinished(() => odd.close());
  const armed = odd.arm({ when: 'before', what: 'call' }, () => 'drop');
  const socket = connect(odd.port, '127.0.0.1');
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(String(answer)).toMatch(/^HTTP\/1\.1 400/);
  socket.destroy();
  armed.disarm();
  expect(await armed.hit).toBeUndefined();
});
