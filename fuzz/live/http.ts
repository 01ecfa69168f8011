import { createHmac } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { changedBytes } from '../inputs/bytes.ts';
import { texts } from '../inputs/hostile.ts';
import { webhookBodies } from '../inputs/captures.ts';
import { changedJson } from '../inputs/json.ts';
import { expect } from '../target.ts';
import { type Answered, exchange } from './raw.ts';
import { type LiveSpindle, webhookSecret } from './spindle.ts';
import { type LiveTarget, promptMs } from './target.ts';

const paths = [
  '/',
  '/events',
  '/events?cursor=1795220930422551000',
  '/logs',
  '/logs/127.0.0.1:5555/3n2rsm36hgg22/ci.yml',
  '/xrpc/sh.tangled.owner',
  '/xrpc/_health',
  '/xrpc/com.example.none?a=b',
  '/.well-known/did.json',
  '/healthz',
  '/webhooks/buildkite',
  '/webhooks/__proto__',
];
const methods = ['GET', 'POST', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'PATCH', 'TRACE', 'CONNECT', 'PROPFIND', 'QUERY'];

/** Bad input is never our fault. 501 is what atproto has for a method that there is not. */
export function judgeAnswer({ status = 0, text }: Answered, target: string): void {
  const unknownMethod = status === 501 && target.includes('/xrpc/');
  expect(status < 500 || unknownMethod, () => `answered ${status} to ${target.slice(0, 300)}: ${text.slice(0, 600)}`);
}

/** On a busy machine an answer may be late for no fault of the spindle's, and not always. */
const mostTries = 5;

/** The same request, again when the answer is late. */
export async function prompt(spindle: LiveSpindle, request: Uint8Array, what: string): Promise<Answered> {
  for (let tries = 1; ; tries++) {
    const answered = await exchange(spindle.port(), request, { patienceMs: 5_000 });
    if (!answered.silent && answered.took <= promptMs) return answered;
    expect(
      tries < mostTries,
      () => `no answer to ${what} within ${promptMs} ms, but after ${Math.round(answered.took)}`,
    );
    await delay(300);
  }
}

const request = (
  method: string,
  path: string,
  headers: readonly string[] = [],
  body: Uint8Array = Buffer.alloc(0),
): Buffer => {
  const length = body.length > 0 || method === 'POST' ? [`Content-Length: ${body.length}`] : [];
  const head = [`${method} ${path} HTTP/1.1`, 'Host: spindle.example', 'Connection: close', ...headers, ...length];
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'), body]);
};

async function checkFaces(spindle: LiveSpindle): Promise<void> {
  for (const path of ['/healthz', '/xrpc/sh.tangled.owner', '/.well-known/did.json']) {
    const { status } = await prompt(spindle, request('GET', path), path);
    expect(status === 200, () => `${path} answers ${status}`);
  }
}

const corpus = [
  ...paths.map((path) => request('GET', path, ['Accept: */*', 'Origin: https://a.example'])),
  request('POST', '/webhooks/buildkite', ['Content-Type: application/json'], Buffer.from('{"event":"ping"}')),
  Buffer.from(
    'POST /xrpc/sh.tangled.owner HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  ),
  Buffer.from(
    'GET /events HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\n\r\n',
  ),
];

/** Bytes that no client would send, over a socket of their own. */
export const rawHttpTarget: LiveTarget = {
  name: 'http-bytes',
  about: 'HTTP requests with their bytes changed',
  weight: 4,
  inputs: changedBytes(corpus, {
    words: [
      '\r\n',
      '\n',
      '\r',
      '\0',
      ' ',
      '%',
      '%00',
      '/../',
      '?',
      '#',
      'HTTP/1.0',
      'HTTP/2.0',
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      'Content-Length: 5\r\n',
      'Content-Length: -1\r\n',
      'Transfer-Encoding: chunked\r\n',
      'Expect: 100-continue\r\n',
      'Upgrade: h2c\r\n',
      'Upgrade: websocket\r\n',
      'Connection: Upgrade\r\n',
      'x: y\r\n',
      'Host: \r\n',
      'ffffffff\r\n',
      Buffer.from([0xff]),
      'ü',
    ],
    most: 100_000,
  }),
  async run(spindle, input) {
    // what is not whole gets no answer, and need not
    const answered = await exchange(spindle.port(), input, { patienceMs: 60, pieces: 1 + (input.length % 3) });
    judgeAnswer(answered, input.toString('latin1').split('\n')[0] ?? '');
  },
  check: checkFaces,
};

const headerNames = [
  'Accept',
  'Content-Type',
  'Origin',
  'Access-Control-Request-Method',
  'Access-Control-Request-Headers',
  'Cookie',
  'Authorization',
  'If-None-Match',
  'Range',
  'X-Forwarded-For',
  'Accept-Encoding',
  'X-HTTP-Method-Override',
  'Content-Encoding',
  '__proto__',
];
/** What a header may hold, and a target: the rest never comes through Node's parser. */
const legal = texts.map((text) =>
  Buffer.from(text)
    .toString('latin1')
    .replaceAll(/[^\t\x20-\x7e\x80-\xff]/g, ''),
);
const encoded = texts.map((text) => encodeURIComponent(text.toWellFormed()));

/** Requests that are right as such, and ask for what nobody should. */
export const httpTarget: LiveTarget = {
  name: 'http',
  about: 'requests for paths, methods and with headers that there are not',
  weight: 3,
  inputs: fc
    .tuple(
      fc.constantFrom(...methods),
      fc.constantFrom(...paths),
      fc.array(fc.constantFrom('/', '?', '&', '=', '%', '..', 'cursor=', ...encoded), { maxLength: 4 }),
      fc.array(fc.tuple(fc.constantFrom(...headerNames), fc.constantFrom(...legal)), { maxLength: 4 }),
    )
    .map(([method, path, more, headers]) =>
      request(
        method,
        path + more.join(''),
        headers.map(([name, value]) => `${name}: ${value}`),
      ),
    ),
  async run(spindle, input) {
    const line = input.toString('latin1').split('\r\n')[0] ?? '';
    const answered = await prompt(spindle, input, line);
    judgeAnswer(answered, line);
  },
  check: checkFaces,
};

const signed = (body: Uint8Array): string => {
  const at = Math.floor(Date.now() / 1000);
  const mac = createHmac('sha256', webhookSecret).update(`${at}.`).update(body).digest('hex');
  return `X-Buildkite-Signature: timestamp=${at},signature=${mac}`;
};

/** Genuine webhooks with any body; each tenth is not signed. */
export const webhookPostsTarget: LiveTarget = {
  name: 'webhook-posts',
  about: 'POST /webhooks/buildkite, signed, with changed bodies',
  weight: 4,
  inputs: fc.oneof(
    { weight: 4, arbitrary: changedJson(webhookBodies) },
    {
      weight: 1,
      arbitrary: changedBytes(
        webhookBodies.map((each) => Buffer.from(each)),
        { words: ['"meta_data":', '\\u0000', '\\ud83e', '{"'], most: 1_200_000 },
      ),
    },
  ),
  async run(spindle, input) {
    const headers = [
      input.length % 10 === 0 ? 'X-Buildkite-Token: x' : signed(input),
      'Content-Type: application/json',
    ];
    const answered = await prompt(spindle, request('POST', '/webhooks/buildkite', headers, input), 'a webhook');
    judgeAnswer(answered, 'POST /webhooks/buildkite');
  },
  async check(spindle) {
    await checkFaces(spindle);
    const body = Buffer.from(webhookBodies[0] ?? '');
    const { status } = await prompt(spindle, request('POST', '/webhooks/buildkite', [signed(body)], body), 'a webhook');
    expect(status === 200, () => `a genuine webhook is answered with ${status}`);
  },
};
