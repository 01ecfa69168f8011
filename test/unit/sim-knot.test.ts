import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { startKnot, type KnotOptions } from '../../sim/knot/knot.ts';
import { eventTime, parseFrame } from '../../src/forges/tangled/frame.ts';
import { tidAt } from '../../src/forges/tangled/tid.ts';
import { parsePipeline } from '../../src/forges/tangled/trigger.ts';

const captured = readFileSync(new URL('../fixtures/knot-events.ndjson', import.meta.url), 'utf8')
  .trim()
  .split('\n');
const repo = { did: 'did:plc:alice', name: 'demo' };
const workflows = [{ name: 'ci.yml', raw: 'tack: {}\n' }];

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of cleanup.splice(0).toReversed()) await step();
});

async function knotWith(options: KnotOptions = {}) {
  const knot = await startKnot(options);
  cleanup.push(() => knot.close());
  return knot;
}

/** a client of `/events` that keeps what it gets */
async function dial(url: string, cursor?: string | bigint) {
  const ws = new WebSocket(cursor === undefined ? url : `${url}?cursor=${cursor}`);
  cleanup.push(() => ws.terminate());
  const frames: string[] = [];
  const changed = new Set<() => void>();
  const pinged = new Promise((resolve) => ws.on('ping', resolve));
  const closed = new Promise<number>((resolve) => ws.on('close', resolve));
  ws.on('error', () => {});
  ws.on('message', (data: Buffer, binary) => {
    expect(binary).toBe(false);
    frames.push(data.toString('utf8'));
    changed.forEach((check) => check());
  });
  let headers: IncomingHttpHeaders = {};
  ws.on('upgrade', (response) => {
    headers = response.headers;
  });
  await once(ws, 'open');

  const until = (count: number): Promise<string[]> =>
    new Promise((resolve) => {
      const check = (): void => {
        if (frames.length < count) return;
        changed.delete(check);
        resolve(frames);
      };
      changed.add(check);
      check();
    });
  /** everything that was sent before the answer to this has arrived */
  const settled = async (): Promise<string[]> => {
    const pong = once(ws, 'pong');
    ws.ping();
    await pong;
    return frames;
  };
  return { ws, frames, until, settled, closed, pinged, headers };
}

const rkeys = (frames: string[]): string[] =>
  frames.map((text) => {
    const frame = parseFrame(text);
    return 'problem' in frame ? frame.problem : frame.rkey;
  });

describe('a knot of generation A', () => {
  test('sends captured frames byte for byte, once each', async () => {
    const knot = await knotWith();
    expect(knot.replay(captured)).toBe(13);
    expect(knot.replay(captured)).toBe(0);
    const client = await dial(knot.url, 1n);
    expect(await client.until(13)).toEqual(captured);
    expect(await client.settled()).toHaveLength(13);
  });

  test.each([undefined, '0', 'garbage', '99999999999999999999'])(
    'with cursor %s sends only what comes',
    async (cursor) => {
      const knot = await knotWith();
      knot.push({ repo, workflows });
      const client = await dial(knot.url, cursor);
      expect(await client.settled()).toEqual([]);
      const { rkey } = knot.push({ repo, workflows });
      const frames = await client.until(2);
      expect(rkeys(frames)[1]).toBe(rkey);
      expect(frames.join()).not.toContain('created');
    },
  );

  test('sends one batch of a hundred, and the next only when something happens', async () => {
    const knot = await knotWith();
    for (let i = 0; i < 250; i++) knot.emit('test.event', { i });
    const client = await dial(knot.url, 1n);
    await client.until(100);
    expect(await client.settled()).toHaveLength(100);
    knot.emit('test.event', { i: 250 });
    await client.until(200);
    expect(await client.settled()).toHaveLength(200);
    knot.emit('test.event', { i: 251 });
    await client.until(252);
    expect(rkeys(client.frames)).toEqual(knot.history.map((row) => row.rkey));
  });

  test('loses the notices of a burst: what is above a hundred waits', async () => {
    const knot = await knotWith();
    const client = await dial(knot.url);
    await client.settled();
    for (let i = 0; i < 300; i++) knot.emit('test.event', { i });
    await client.until(100);
    expect(await client.settled()).toHaveLength(100);
  });

  test('starts strictly after the cursor, which a TID is always before', async () => {
    const knot = await knotWith();
    for (let i = 0; i < 5; i++) knot.emit('test.event', { i });
    const [, second, third] = knot.history;
    if (!second || !third) throw new Error('no rows');
    const exact = await dial(knot.url, second.created);
    expect(rkeys(await exact.until(3))[0]).toBe(third.rkey);
    expect(await exact.settled()).toHaveLength(3);
    const byTid = await dial(knot.url, eventTime({ rkey: second.rkey }) ?? 0n);
    expect(rkeys(await byTid.until(4))).toContain(second.rkey);
  });
});

describe('a knot of generation B', () => {
  test('puts created into the envelope and drains in full', async () => {
    const knot = await knotWith({ generation: 'B' });
    for (let i = 0; i < 250; i++) knot.emit('test.event', { i });
    const client = await dial(knot.url, 1n);
    const frames = (await client.until(250)).map((text) => parseFrame(text));
    expect(frames).toEqual(
      knot.history.map(({ rkey, created, event }) => ({
        nsid: 'test.event',
        rkey,
        created,
        event: JSON.parse(event) as unknown,
      })),
    );
  });

  test('without a cursor replays its whole history', async () => {
    const knot = await knotWith({ generation: 'B' });
    knot.replay(captured);
    const client = await dial(knot.url);
    expect(rkeys(await client.until(13))).toEqual(rkeys(captured));
  });
});

describe('a push', () => {
  test('is a refUpdate and then a pipeline that reads like a real one', async () => {
    const knot = await knotWith();
    const client = await dial(knot.url);
    const { rkey, sha } = knot.push({ repo, workflows, ref: 'refs/tags/v1' });
    const [refUpdate, pipeline] = (await client.until(2)).map((text) => parseFrame(text));
    if (!pipeline || 'problem' in pipeline) throw new Error('no pipeline');
    expect(refUpdate).toMatchObject({ nsid: 'sh.tangled.git.refUpdate', event: { newSha: sha, ref: 'refs/tags/v1' } });
    expect(pipeline).toMatchObject({ nsid: 'sh.tangled.pipeline', rkey, event: { $type: '' } });
    expect(parsePipeline(pipeline.event)).toMatchObject({
      ok: true,
      trigger: { commit: sha, tag: 'v1', repo: { knot: knot.host, ...repo }, workflows },
    });
  });

  test('that matches no workflow gives no pipeline', async () => {
    const knot = await knotWith();
    expect(knot.push({ repo, workflows: [] }).emitted).toBe(false);
    expect(knot.history.map((row) => row.nsid)).toEqual(['sh.tangled.git.refUpdate']);
    expect(knot.push({ repo, workflows: [], evenIfEmpty: true }).emitted).toBe(true);
  });

  test.each(['pull_request', 'manual'] as const)('of kind %s comes alone', async (kind) => {
    const knot = await knotWith();
    const { sha } = knot.push({ repo, workflows, kind });
    expect(knot.history).toHaveLength(1);
    const event: unknown = JSON.parse(knot.history[0]?.event ?? '');
    expect(parsePipeline(event)).toMatchObject({ ok: true, trigger: { kind, commit: sha } });
  });

  test('comes in over HTTP, too', async () => {
    const knot = await knotWith();
    const client = await dial(knot.url);
    const post = (path: string, body: string) =>
      fetch(`http://127.0.0.1:${knot.port}${path}`, { method: 'POST', body });
    const pushed = (await (await post('/push', JSON.stringify({ repo, workflows }))).json()) as { rkey: string };
    expect(rkeys(await client.until(2))[1]).toBe(pushed.rkey);
    expect((await post('/emit', JSON.stringify({ nsid: 'a.b', event: 5, rkey: 'x' }))).status).toBe(200);
    expect(rkeys(await client.until(3))[2]).toBe('x');
    expect((await post('/push', '{"repo":1}')).status).toBe(400);
    expect((await post('/push', 'not JSON')).status).toBe(400);
    expect((await post('/elsewhere', '{}')).status).toBe(404);
  });
});

describe('a fault', () => {
  test('in the clock shows in the HTTP date, the TIDs and created', async () => {
    const skew = 3_600_000;
    const knot = await knotWith({ clockSkew: skew });
    const client = await dial(knot.url);
    const ahead = (ms: number): number => Math.round((ms - Date.now()) / 60_000);
    expect(ahead(Date.parse(client.headers['date'] ?? ''))).toBe(60);
    const tid = eventTime({ rkey: knot.emit('test.event', {}) }) ?? 0n;
    expect(ahead(Number(tid / 1_000_000n))).toBe(60);
    expect(ahead(Number((knot.history[0]?.created ?? 0n) / 1_000_000n))).toBe(60);
  });

  test('in one rkey leaves created as it is', async () => {
    const knot = await knotWith();
    const rkey = tidAt(Date.now() + 86_400_000);
    knot.push({ repo, workflows, rkey });
    const after = knot.push({ repo, workflows });
    const client = await dial(knot.url, 1n);
    expect(rkeys(await client.until(4))).toEqual([expect.any(String), rkey, expect.any(String), after.rkey]);
  });

  test('breaks the link after the n-th frame', async () => {
    const knot = await knotWith();
    for (let i = 0; i < 10; i++) knot.emit('test.event', { i });
    knot.dropAfter(3);
    const client = await dial(knot.url, 1n);
    expect(await client.closed).toBe(1006);
    expect(client.frames).toHaveLength(3);
    const again = await dial(knot.url, 1n);
    await again.until(10);
    expect(knot.connections).toMatchObject([
      { cursor: '1', sent: 3 },
      { cursor: '1', sent: 10, closedAt: undefined },
    ]);
  });

  test('breaks each link after a frame that is new, and lets what was asked for again pass', async () => {
    const knot = await knotWith();
    for (let i = 0; i < 3; i++) knot.emit('test.event', { i });
    knot.faults.dropEach = true;
    for (let links = 1; links <= 3; links++) {
      const client = await dial(knot.url, 1n);
      expect(await client.closed).toBe(1006);
      expect(client.frames).toHaveLength(links);
    }
    const all = await dial(knot.url, 1n);
    await all.until(3);
    knot.emit('test.event', {});
    expect(await all.closed).toBe(1006);
    expect(all.frames).toHaveLength(4);
    knot.faults.dropEach = false;
    const whole = await dial(knot.url, 1n);
    knot.emit('test.event', {});
    await whole.until(5);
  });

  test('ignores the cursor', async () => {
    const knot = await knotWith();
    knot.faults.ignoreCursor = true;
    knot.emit('test.event', {});
    const client = await dial(knot.url, knot.now() + 1_000_000_000n);
    await client.until(1);
  });

  test('sends the whole history again, on open links', async () => {
    const knot = await knotWith();
    knot.replay(captured);
    const client = await dial(knot.url, 1n);
    await client.until(13);
    knot.replayAll();
    expect(await client.until(26)).toEqual([...captured, ...captured]);
  });

  test('turns the order round', async () => {
    const knot = await knotWith();
    knot.faults.outOfOrder = true;
    knot.replay(captured);
    const client = await dial(knot.url, 1n);
    expect(await client.until(13)).toEqual(captured.toReversed());
  });

  test('leaves a link half open: no pings, no answers, while new dials work', async () => {
    const knot = await knotWith({ pingMs: 20 });
    const client = await dial(knot.url);
    await client.pinged;
    knot.halfOpen();
    const pong = once(client.ws, 'pong').then(() => 'pong');
    client.ws.ping();
    const rkey = knot.emit('test.event', {});
    const fresh = await dial(knot.url, 1n);
    expect(rkeys(await fresh.until(1))).toEqual([rkey]);
    await fresh.pinged;
    expect(await Promise.race([pong, fresh.settled()])).toBe(fresh.frames);
    expect(client.frames).toEqual([]);
  });

  test('refuses upgrades', async () => {
    const knot = await knotWith();
    knot.faults.refuse = 503;
    await expect(dial(knot.url)).rejects.toThrow('503');
    await expect(dial(knot.url.replace('/events', '/elsewhere'))).rejects.toThrow('404');
    knot.faults.refuse = undefined;
    await dial(knot.url);
    expect(knot.connections).toHaveLength(1);
  });

  test('sends any bytes as a frame', async () => {
    const knot = await knotWith();
    const client = await dial(knot.url);
    knot.raw('{"nsid":');
    knot.raw(Buffer.from('ünï'));
    expect(await client.until(2)).toEqual(['{"nsid":', 'ünï']);
    expect(knot.history).toHaveLength(0);
  });

  test('of a client does not end the knot', async () => {
    const knot = await knotWith();
    const broken = await dial(knot.url);
    (broken.ws as unknown as { _socket: { write(data: Buffer): void } })._socket.write(Buffer.from([0xff, 0xff, 0x00]));
    await broken.closed;
    const socket = connect(knot.port, '127.0.0.1');
    socket.on('error', () => {}).write('GET /events HTTP/1.1\r\nnonsense\r\n\r\n');
    await once(socket, 'close');
    const client = await dial(knot.url);
    knot.emit('test.event', {});
    await client.until(1);
  });
});

test('a knot that was stopped starts again on its port, with its history', async () => {
  const first = await startKnot();
  first.replay(captured);
  const client = await dial(first.url);
  await first.close();
  await client.closed;
  const second = await knotWith({ port: first.port, history: first.history });
  expect(await (await dial(second.url, 1n)).until(13)).toEqual(captured);
  await second.connected(1);
});
