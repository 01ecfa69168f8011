import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import type { ReadersControl } from '../../faults/contract.ts';
import { type Status, statusFrame } from '../../src/forges/tangled/status.ts';
import { simulator } from '../support/faults-sims.ts';
import { until } from '../support/until.ts';

const createdAt = '2026-11-20T12:00:00.250Z';
const frame = (rkey: string, status: Status = 'running', more = {}): string =>
  statusFrame(rkey, { knot: '127.0.0.1:6000', rkey: '3pipeline', workflow: 'ci.yml', status, createdAt, ...more });

/** A server of `/events` and `/logs`; a test has its sockets in hand. Every other path is answered with 404. */
async function spindle() {
  const server = createServer((_request, response) => response.writeHead(404).end());
  const sockets = new WebSocketServer({ noServer: true });
  const dials: { path: string; cursor: string | null; ws: WebSocket; open: boolean }[] = [];
  server.on('upgrade', (request, socket, head) => {
    const url = new URL(request.url ?? '/', 'http://spindle');
    if (url.pathname.endsWith('/gone.yml')) return socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n');
    sockets.handleUpgrade(request, socket, head, (ws) => {
      const dial = { path: url.pathname, cursor: url.searchParams.get('cursor'), ws, open: true };
      ws.on('close', () => {
        dial.open = false;
      });
      dials.push(dial);
    });
    return undefined;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const { ws } of dials) ws.terminate();
    server.close();
  });
  const dialled = (count: number, path = '/events') =>
    until(`${count} dials of ${path}`, () => {
      const found = dials.filter((dial) => dial.path === path);
      return found.length >= count ? found : undefined;
    });
  return { url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, dials, dialled };
}

const readers = () => {
  const ask = simulator<ReadersControl>('readers');
  const frames: Awaited<ReturnType<typeof ask.take>>['frames'] = [];
  const logReads: Awaited<ReturnType<typeof ask.take>>['logReads'] = [];
  /** All that was taken so far, when it is enough. */
  const taken = (what: 'frames' | 'logReads', count: number) =>
    until(`${count} ${what}`, async () => {
      const more = await ask.take();
      frames.push(...more.frames);
      logReads.push(...more.logReads);
      return { frames, logReads }[what].length >= count;
    });
  return { ask, frames, logReads, taken };
};

test('the faithful reader comes back with its own clock, and keeps repeats too, each with its link', async () => {
  const { url, dialled } = await spindle();
  const { ask, frames, taken } = readers();
  await ask.start({ url, wild: 0, seed: 1 });
  const [first] = await dialled(1);
  expect(first?.cursor).toBeNull();
  first?.ws.send(frame('3aaa', 'failed', { error: 'exit 3', exitCode: 3 }));
  await taken('frames', 1);
  const before = Date.now();
  first?.ws.terminate();
  const [, second] = await dialled(2);
  expect(Date.now() - before).toBeGreaterThanOrEqual(400);
  expect(Number(BigInt(second?.cursor ?? '0') / 1_000_000n)).toBeLessThanOrEqual(before);
  expect(Number(BigInt(second?.cursor ?? '0') / 1_000_000n)).toBeGreaterThan(before - 20_000);
  second?.ws.send(frame('3aaa', 'failed', { error: 'exit 3', exitCode: 3 }));
  second?.ws.send(frame('3aab'));
  second?.ws.send('{"no":"status"}');
  await taken('frames', 4);
  const told = {
    reader: 'faithful',
    at: expect.any(Number),
    knot: '127.0.0.1:6000',
    pipelineRkey: '3pipeline',
    job: 'ci.yml',
    createdAt: Date.parse(createdAt),
  };
  const failed = { ...told, rkey: '3aaa', status: 'failed', error: 'exit 3', exitCode: 3 };
  expect(frames.slice(0, 3)).toEqual([
    { ...failed, connection: 1 },
    { ...failed, connection: 2 },
    { ...told, connection: 2, rkey: '3aab', status: 'running' },
  ]);
  expect(frames[3]?.status).toMatch(/^unreadable/);
});

test('a wild reader jumps to cursors of all kinds, and gives each frame once', async () => {
  const { url, dials, dialled } = await spindle();
  const { ask, frames, taken } = readers();
  await ask.start({ url, wild: 1, seed: 1 });
  await dialled(2);
  for (let n = 0; n < 30; n++) {
    await ask.wild(0, 'jump', 0);
    await dialled(3 + n);
  }
  await until('only two are open', () => dials.filter(({ open }) => open).length === 2);
  const cursors = dials.slice(2).map(({ cursor }) => cursor ?? '');
  const now = BigInt(Date.now()) * 1_000_000n;
  for (const known of ['0', '-1', 'yesterday']) expect(cursors).toContain(known);
  const times = cursors.filter((cursor) => /^\d{19}$/.test(cursor)).map(BigInt);
  expect(times.some((time) => time > now)).toBe(true);
  expect(times.some((time) => time < now)).toBe(true);

  const mine = dials.at(-1)?.ws;
  for (const rkey of ['3aaa', '3aaa', '3aab']) mine?.send(frame(rkey));
  await taken('frames', 2);
  expect(frames.map(({ reader, rkey }) => [reader, rkey])).toEqual([
    ['wild-1', '3aaa'],
    ['wild-1', '3aab'],
  ]);
});

test('a wild reader that stalls takes nothing until its time is over', async () => {
  const { url, dials, dialled } = await spindle();
  const { ask, frames, taken } = readers();
  await ask.start({ url, wild: 2, seed: 1 });
  await dialled(3);
  for (const { ws } of dials) ws.send(frame('3aaa'));
  await taken('frames', 2);
  // All of them, so that it does not matter which socket is whose.
  await ask.wild(0, 'stall', 700);
  await ask.wild(1, 'stall', 700);
  const before = Date.now();
  for (const { ws } of dials) ws.send(frame('3aab'));
  await taken('frames', 4);
  const late = frames.filter(({ reader, rkey }) => reader !== 'faithful' && rkey === '3aab');
  expect(late).toHaveLength(1);
  expect((late[0]?.at ?? 0) - before).toBeGreaterThanOrEqual(600);
});

const line = (n: number): string =>
  JSON.stringify({ kind: 'data', content: `line ${n}`, time: createdAt, step_id: 1, step_kind: 1, stream: 'stdout' });
const opened = JSON.stringify({
  kind: 'control',
  content: 'Build',
  time: createdAt,
  step_id: 1,
  step_status: 'start',
  step_kind: 1,
});

test('a log is read to its end, twice with the same digest', async () => {
  const { url, dialled } = await spindle();
  const { ask, logReads, taken } = readers();
  await ask.start({ url, wild: 0, seed: 1 });
  const log = { knot: '127.0.0.1:6000', rkey: '3pipeline', job: 'ci.yml' };
  for (let n = 1; n <= 2; n++) {
    await ask.readLog(log, 20_000, false);
    const socket = (await dialled(n, '/logs/127.0.0.1:6000/3pipeline/ci.yml')).at(-1)?.ws;
    for (const text of [opened, line(1), line(2)]) socket?.send(text);
    socket?.close(1000);
    await taken('logReads', n);
  }
  expect(logReads[0]).toMatchObject({ ...log, lines: 2, closed: 1000 });
  expect(logReads[1]?.digest).toBe(logReads[0]?.digest);
});

test('a log that is refused, never ends, or is left in the middle is told too', async () => {
  const { url, dialled } = await spindle();
  const { ask, logReads, taken } = readers();
  await ask.start({ url, wild: 0, seed: 1 });
  const of = (job: string) => ({ knot: 'k', rkey: 'r', job });
  await ask.readLog(of('gone.yml'), 20_000, false);
  await taken('logReads', 1);
  expect(logReads[0]).toMatchObject({ ...of('gone.yml'), lines: 0, closed: 404 });

  await ask.readLog(of('endless.yml'), 2_000, false);
  await dialled(1, '/logs/k/r/endless.yml');
  await taken('logReads', 2);
  expect(logReads[1]).toMatchObject({ ...of('endless.yml'), closed: null });

  await ask.readLog(of('long.yml'), 20_000, true);
  const [dial] = await dialled(1, '/logs/k/r/long.yml');
  dial?.ws.send(opened);
  for (let n = 0; n < 1_000; n++) dial?.ws.send(line(n));
  await taken('logReads', 3);
  expect(logReads[2]).toMatchObject({ ...of('long.yml'), closed: null });
  expect(logReads[2]?.lines).toBeLessThan(1_000);
  await until('the reader has left', () => dial?.open === false);
});

test('nobody reads any more after the end', async () => {
  const { url, dials, dialled } = await spindle();
  const { ask } = readers();
  await ask.start({ url, wild: 2, seed: 1 });
  await dialled(3);
  await ask.stop();
  await until('all have gone', () => dials.every(({ open }) => !open));
});
