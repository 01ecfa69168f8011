import fc from 'fast-check';
import { WebSocket } from 'ws';
import { changedBytes } from '../inputs/bytes.ts';
import { texts } from '../inputs/hostile.ts';
import { noise } from '../random.ts';
import { expect } from '../target.ts';
import { judgeAnswer } from './http.ts';
import { exchange } from './raw.ts';
import { frame } from './ws-frame.ts';
import { type LiveTarget, promptMs } from './target.ts';

const hello = Buffer.from('{"hello":1}');
const frames = [
  frame(1, hello),
  frame(2, noise(1, 40)),
  frame(9, hello),
  frame(10, Buffer.alloc(0)),
  frame(9, noise(2, 126)),
  frame(8, Buffer.from([0x03, 0xe8])),
  frame(8, Buffer.from([0x00])),
  frame(8, Buffer.from([0xff, 0xff, 0xff])),
  frame(1, hello, { fin: false }),
  Buffer.concat([frame(1, hello, { fin: false }), frame(0, hello), frame(9, hello)]),
  frame(0, hello),
  frame(1, Buffer.from([0xff, 0xfe])),
  frame(1, hello, { masked: false }),
  frame(1, hello, { rsv: 4 }),
  frame(3, hello),
  frame(1, hello, { length: 70_000 }),
  frame(1, hello, { length: 0xffffffff }),
  frame(1, Buffer.alloc(66_000, 0x61)),
  Buffer.from([0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
  Buffer.concat(Array.from({ length: 500 }, () => frame(9, Buffer.alloc(0)))),
];

const parts = texts.map((text) => encodeURIComponent(text.toWellFormed()));
const raw = texts.map((text) =>
  Buffer.from(text)
    .toString('latin1')
    .replaceAll(/[\r\n\0 ]/g, ''),
);
const target = fc.oneof(
  fc.constant('/events'),
  fc.constantFrom(...parts).map((cursor) => `/events?cursor=${cursor}`),
  fc
    .constantFrom('1', '-1', '0', '1795220930422551000', '9'.repeat(19), '-9223372036854775808')
    .map((cursor) => `/events?cursor=${cursor}&cursor=2`),
  fc
    .tuple(fc.constantFrom(...parts), fc.constantFrom(...parts), fc.constantFrom(...raw))
    .map((path) => `/logs/${path.join('/')}`),
  fc.constantFrom('/logs', '/logs/', '/xrpc/a.b.c', '/nothing', '//events', '/events/', 'http://x/events', '*'),
);
const more = fc.constantFrom(
  '',
  'Sec-WebSocket-Protocol: a, b, a\r\n',
  'Sec-WebSocket-Protocol: ,\r\n',
  'Sec-WebSocket-Extensions: permessage-deflate; x="\r\n',
  'Sec-WebSocket-Extensions: permessage-deflate\r\n',
  'Origin: \xff\r\n',
  'Content-Length: 3\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Upgrade: h2c\r\n',
  'Cookie: ' + 'a'.repeat(9_000) + '\r\n',
);
const key = fc.constantFrom(
  'MTIzNDU2Nzg5MDEyMzQ1Ng==',
  'MTIzNDU2Nzg5MDEyMzQ1Ng==',
  'MTIzNDU2Nzg5MDEyMzQ1Ng==',
  'x',
  '',
  'MTIzNDU2Nzg5MDEyMzQ1Ng=',
);
const version = fc.constantFrom('13', '13', '13', '13', '8', '', '999');

const upgrade = fc
  .tuple(target, key, version, more)
  .map(([path, given, number, headers]) =>
    Buffer.from(
      `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        `Sec-WebSocket-Version: ${number}\r\nSec-WebSocket-Key: ${given}\r\n${headers}\r\n`,
      'latin1',
    ),
  );

const end = Buffer.from('\0frames\0');

/** Upgrades of all kinds, and what a client may say once it is one. */
export const socketsTarget: LiveTarget = {
  name: 'sockets',
  about: 'upgrades to /events and /logs, and the frames of their clients',
  weight: 4,
  inputs: fc
    .tuple(
      upgrade,
      fc.array(fc.oneof(fc.constantFrom(...frames), changedBytes(frames, { most: 70_000 })), { maxLength: 4 }),
    )
    .map(([head, said]) => Buffer.concat([head, end, ...said])),
  async run(spindle, input) {
    const at = input.indexOf(end);
    const head = at < 0 ? input : input.subarray(0, at);
    const said = at < 0 ? Buffer.alloc(0) : input.subarray(at + end.length);
    // what is said together with the head comes before the upgrade is done
    const early = said.length % 4 === 0;
    const bytes = early ? Buffer.concat([head, said]) : head;
    const answered = await exchange(spindle.port(), bytes, { patienceMs: 2 * promptMs, after: early ? [] : [said] });
    judgeAnswer(answered, head.toString('latin1').split('\r\n')[0] ?? '');
    expect(
      !answered.silent || head.includes('Content-Length') || head.includes('chunked'),
      () => 'an upgrade is not answered',
    );
  },
  async check(spindle) {
    const socket = new WebSocket(`ws://127.0.0.1:${spindle.port()}/events?cursor=1`);
    const opened = await new Promise<boolean>((resolve) => {
      socket.once('open', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    socket.terminate();
    expect(opened, () => '/events takes nobody any more');
  },
};
