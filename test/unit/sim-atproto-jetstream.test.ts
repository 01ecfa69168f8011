import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import {
  createNetwork,
  type JetstreamOptions,
  manualClock,
  type Network,
  startJetstream,
} from '../../sim/atproto/index.ts';

const captured = readFileSync(new URL('../fixtures/jetstream-events.ndjson', import.meta.url), 'utf8')
  .trim()
  .split('\n');
const REPO = 'sh.tangled.repo';
const MEMBER = 'sh.tangled.spindle.member';

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of cleanup.splice(0).toReversed()) await step();
});

async function hostOf(network: Network, options: JetstreamOptions = {}) {
  const jetstream = await startJetstream(network, options);
  cleanup.push(() => jetstream.close());
  return jetstream;
}

interface Frame {
  did: string;
  time_us: number;
  cursor?: number;
  kind: string;
  commit?: {
    rev: string;
    operation: string;
    collection: string;
    rkey: string;
    record?: { name?: string };
    cid?: string;
  };
}

/** a subscriber that keeps what it gets */
async function dial(url: string, query: Record<string, string | string[]> = {}, headers: Record<string, string> = {}) {
  const params = Object.entries(query).flatMap(([key, value]) =>
    [value].flat().map((one): [string, string] => [key, one]),
  );
  const ws = new WebSocket(`${url}?${new URLSearchParams(params).toString()}`, { headers, perMessageDeflate: false });
  cleanup.push(() => ws.terminate());
  const frames: string[] = [];
  const changed = new Set<() => void>();
  const pinged = new Promise((resolve) => ws.on('ping', resolve));
  const closed = new Promise<number>((resolve) => ws.on('close', resolve));
  ws.on('error', () => {});
  ws.on('message', (data: Buffer) => {
    frames.push(data.toString('utf8'));
    changed.forEach((check) => check());
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
    for (let turn = 0; turn < 3; turn++) {
      const pong = once(ws, 'pong');
      ws.ping();
      await pong;
    }
    return frames;
  };
  const names = () => frames.map((text) => parse(text).commit?.record?.name);
  return { ws, frames, until, settled, closed, pinged, names };
}

const parse = (text: string): Frame => JSON.parse(text);

/** the HTTP status of a dial that is refused */
async function refusal(url: string, query: string, headers: Record<string, string> = {}): Promise<number | undefined> {
  const ws = new WebSocket(`${url}?${query}`, { headers });
  cleanup.push(() => ws.terminate());
  ws.on('error', () => {});
  const [, response] = await once(ws, 'unexpected-response');
  return response.statusCode;
}

/** a network with one account and a way to write */
function world(options: Parameters<typeof createNetwork>[0] = {}) {
  const network = createNetwork(options);
  const { did } = network.account();
  const write = (name: string, by = did) => network.repo(by, { knot: 'k', name });
  return { network, did, write };
}

describe('a frame', () => {
  test('is, for the captured writes, the captured one but for its time and number', async () => {
    const network = createNetwork();
    network.replay(captured);
    const jetstream = await hostOf(network);
    const client = await dial(jetstream.url, { cursor: '1', wantedCollections: ['sh.tangled.*'] });
    await client.until(captured.length + 6);
    const plain = (text: string): string => text.replace(/"time_us":\d+,"cursor":\d+/, '"time_us":0,"cursor":0');
    const commits = client.frames.filter((text) => parse(text).kind === 'commit');
    expect(commits.map(plain)).toEqual(captured.map(plain));
    for (const text of commits) expect(text).toMatch(/"time_us":\d{16},"cursor":\d{1,2},"kind"/);
  });

  test('of a server of version 1 has no number', async () => {
    const { network, write } = world();
    const jetstream = await hostOf(network, { version: 1 });
    const client = await dial(jetstream.url);
    write('a');
    const [frame = ''] = await client.until(1);
    expect(Object.keys(parse(frame))).toEqual(['did', 'time_us', 'kind', 'commit']);
  });

  test('tells of accounts and identities as the firehose words it', async () => {
    const { network, did } = world();
    const jetstream = await hostOf(network);
    const client = await dial(jetstream.url, { wantedCollections: REPO });
    network.deactivate(did);
    network.reactivate(did);
    network.changeHandle(did, 'new.test');
    network.takeDown(did);
    network.deleteAccount(did);
    await client.until(5);
    const seq = expect.any(Number);
    const time = expect.stringMatching(/^\d{4}-.*Z$/);
    const bodies = client.frames.map((text) => {
      const { account, identity } = JSON.parse(text);
      return account ?? identity;
    });
    expect(bodies).toEqual([
      { active: false, did, seq, status: 'deactivated', time },
      { active: true, did, seq, time },
      { did, handle: 'new.test', seq, time },
      { active: false, did, seq, status: 'takendown', time },
      { active: false, did, seq, status: 'deleted', time },
    ]);
    expect(client.frames.map((text) => parse(text).kind)).toEqual([
      'account',
      'account',
      'identity',
      'account',
      'account',
    ]);
  });
});

describe('a cursor', () => {
  const clock = () => manualClock('2026-11-20T12:00:00Z');

  test.each(['', '9999999999999999', '4'])('of %j means from now on', async (cursor) => {
    const { network, write } = world();
    write('before');
    const jetstream = await hostOf(network);
    const client = await dial(jetstream.url, { cursor });
    expect(await client.settled()).toEqual([]);
    write('after');
    await client.until(1);
    expect(client.names()).toEqual(['after']);
    expect(jetstream.connections[0]?.cursor).toBe(cursor);
  });

  test('of a time gives what has that time or a later one', async () => {
    const time = clock();
    const { network, write } = world({ now: time.now });
    const jetstream = await hostOf(network);
    for (const name of ['a', 'b', 'c', 'd']) {
      time.advance(1_000);
      write(name);
    }
    const first = await dial(jetstream.url, { cursor: '1' });
    await first.until(6);
    const third = first.frames.map(parse).find((frame) => frame.commit?.record?.name === 'c');
    const from = async (cursor: number) => {
      const client = await dial(jetstream.url, { cursor: String(cursor) });
      await client.settled();
      return client.names();
    };
    expect(await from(third?.time_us ?? 0)).toEqual(['c', 'd']);
    expect(await from((third?.time_us ?? 0) + 1)).toEqual(['d']);
    expect(await from((third?.time_us ?? 0) - 1)).toEqual(['c', 'd']);
    // below 1e15 it is a number of this host
    expect(third?.cursor).toBe(5);
    expect(await from(5)).toEqual(['c', 'd']);
    expect(await from(6)).toEqual(['d']);
  });

  test('that is older than the lookback starts at the oldest that is left, without a word', async () => {
    const time = clock();
    const { network, write } = world({ now: time.now });
    const jetstream = await hostOf(network, { lookbackMs: 60_000 });
    write('old');
    time.advance(59_000);
    write('young');
    time.advance(2_000);
    for (const cursor of ['1', String(Date.parse('2026-11-20T12:00:00Z') * 1000)]) {
      const client = await dial(jetstream.url, { cursor });
      await client.settled();
      expect(client.names()).toEqual(['young']);
    }
    jetstream.forget();
    write('new');
    const client = await dial(jetstream.url, { cursor: '1' });
    await client.settled();
    expect(client.names()).toEqual(['new']);
  });

  test('counts for nothing without a lookback', async () => {
    const { network, write } = world();
    const jetstream = await hostOf(network, { lookbackMs: 0 });
    write('before');
    const client = await dial(jetstream.url, { cursor: '1' });
    expect(await client.settled()).toEqual([]);
  });
});

describe('a subscription', () => {
  test('filters commits by collection and everything by account', async () => {
    const { network, did, write } = world();
    const other = network.account();
    const jetstream = await hostOf(network);
    const exact = await dial(jetstream.url, { wantedCollections: [MEMBER, 'app.bsky.*'] });
    const prefix = await dial(jetstream.url, { wantedCollections: 'sh.tangled.*' });
    const account = await dial(jetstream.url, { wantedDids: [other.did] });
    write('a');
    network.invite(did, other.did, 'spindle.example');
    network.create(did, 'app.bsky.feed.post', {});
    write('b', other.did);
    network.deactivate(did);
    const kinds = async (client: Awaited<ReturnType<typeof dial>>) =>
      (await client.settled()).map((text) => parse(text).commit?.collection ?? parse(text).kind);
    await exact.until(3);
    await prefix.until(4);
    await account.until(1);
    expect(await kinds(exact)).toEqual([MEMBER, 'app.bsky.feed.post', 'account']);
    expect(await kinds(prefix)).toEqual([REPO, MEMBER, REPO, 'account']);
    expect(account.names()).toEqual(['b']);
    expect(jetstream.connections.map(({ filter }) => filter.collections)).toEqual([
      [MEMBER, 'app.bsky.*'],
      ['sh.tangled.*'],
      [],
    ]);
  });

  test('leaves out what is larger than was asked for', async () => {
    const { network, write } = world();
    const jetstream = await hostOf(network);
    const client = await dial(jetstream.url, { maxMessageSizeBytes: '600' });
    write('x'.repeat(1_000));
    write('small');
    await client.until(1);
    expect(client.names()).toEqual(['small']);
  });

  test('waits for its hello, and can be changed', async () => {
    const { network, did, write } = world();
    const jetstream = await hostOf(network);
    write('a');
    const client = await dial(jetstream.url, { cursor: '1', requireHello: 'true' });
    expect(await client.settled()).toEqual([]);
    const update = (payload: object) => client.ws.send(JSON.stringify({ type: 'options_update', payload }));
    client.ws.send(JSON.stringify({ type: 'something else' }));
    update({ wantedCollections: [REPO], wantedDids: [did] });
    await client.until(3);
    update({ wantedCollections: [MEMBER] });
    await expect.poll(() => jetstream.connections[0]?.filter.collections).toEqual([MEMBER]);
    write('b');
    network.invite(did, did, 'spindle.example');
    await client.until(4);
    expect(parse(client.frames[3] ?? '').commit?.collection).toBe(MEMBER);
    update({ wantedDids: ['nobody'] });
    expect(await client.closed).toBe(1008);
  });

  test.each(['no JSON', '{"type":"options_update","payload":{"wantedDids":"did:plc:a"}}'])(
    'ends at the message %s',
    async (message) => {
      const jetstream = await hostOf(createNetwork());
      const client = await dial(jetstream.url);
      client.ws.send(message);
      expect(await client.closed).toBe(1007);
    },
  );

  test.each([
    ['compress=true', 400],
    ['cursor=yesterday', 400],
    ['cursor=-1', 400],
    ['wantedDids=alice', 400],
    ['wantedCollections=sh.tangled', 400],
    [Array.from({ length: 101 }, (_, n) => `wantedCollections=sh.tangled.c${n}`).join('&'), 400],
  ])('is refused for %.40s', async (query, status) => {
    const jetstream = await hostOf(createNetwork());
    expect(await refusal(jetstream.url, query)).toBe(status);
    expect(jetstream.connections).toHaveLength(0);
  });

  test('is refused for zstd by a header, and at another path', async () => {
    const jetstream = await hostOf(createNetwork());
    expect(await refusal(jetstream.url, '', { 'Socket-Encoding': 'zstd' })).toBe(400);
    expect(await refusal(jetstream.url.replace('subscribe', 'events'), '')).toBe(404);
  });

  test('is pinged', async () => {
    const jetstream = await hostOf(createNetwork(), { pingMs: 20 });
    await (
      await dial(jetstream.url)
    ).pinged;
  });

  test('far behind gets everything in order, however slow it reads', async () => {
    const { network, did } = world();
    network.fill(did, REPO, 30_000, (n) => ({ n, filler: 'x'.repeat(200) }));
    const jetstream = await hostOf(network);
    const client = await dial(jetstream.url, { cursor: '1' });
    await client.until(1);
    client.ws.pause();
    network.fill(did, REPO, 10, (n) => ({ n: 30_000 + n }));
    client.ws.resume();
    await client.until(30_012);
    const cursors = client.frames.map((text) => parse(text).cursor);
    expect(cursors).toEqual(Array.from({ length: 30_012 }, (_, n) => n + 1));
  });
});

describe('several hosts', () => {
  test('stamp their own times and numbers on the same events', async () => {
    const time = manualClock();
    const { network, write } = world({ now: time.now });
    const [ahead, behind] = [await hostOf(network, { skewMs: 3_000 }), await hostOf(network)];
    write('a');
    const late = await hostOf(network);
    const rows = [ahead, behind, late].map((jetstream) => jetstream.rows.at(-1));
    expect(rows.map((row) => row && 'event' in row && row.event)).toEqual(Array(3).fill(network.events.at(-1)));
    expect((rows[0]?.timeUs ?? 0) - (rows[1]?.timeUs ?? 0)).toBe(3_000_000);
  });

  test('one that lost an event knows nothing of it, and another does', async () => {
    const { network, write } = world();
    const [whole, holed] = [await hostOf(network), await hostOf(network)];
    const before = whole.rows.length;
    holed.lose((event) => event.kind === 'commit' && event.commit.operation === 'create');
    write('a');
    holed.lose(undefined);
    write('b');
    expect(whole.rows).toHaveLength(before + 2);
    expect(holed.rows).toHaveLength(before + 1);
  });
});

describe('a shuffle', () => {
  const told = async (seed: number, live: boolean) => {
    const network = createNetwork({ now: manualClock().now });
    const dids = Array.from({ length: 5 }, () => network.account().did);
    const writes = () => {
      for (let n = 0; n < 50; n++) network.repo(dids[n % 5] ?? '', { knot: 'k', name: `r${n}` });
    };
    if (!live) writes();
    const jetstream = await hostOf(network, { shuffle: { seed, windowMs: 1_000_000 } });
    if (live) writes();
    jetstream.flush();
    return jetstream.rows.flatMap((row) => ('event' in row && row.event.kind === 'commit' ? [row.event.commit] : []));
  };

  test.each([true, false])('mixes the accounts and keeps the order of each (live: %s)', async (live) => {
    const commits = await told(1, live);
    expect(commits).toHaveLength(50);
    expect(commits.map(({ rev }) => rev)).not.toEqual(commits.map(({ rev }) => rev).toSorted());
    for (const did of new Set(commits.map((commit) => commit.did))) {
      const revs = commits.filter((commit) => commit.did === did).map(({ rev }) => rev);
      expect(revs).toEqual(revs.toSorted());
    }
  });

  test('is the same for a seed, and another for another', async () => {
    expect(await told(1, true)).toEqual(await told(1, true));
    expect(await told(1, true)).not.toEqual(await told(2, true));
  });

  test('lets go of its events when its window ends', async () => {
    const { network, write } = world();
    const jetstream = await hostOf(network, { shuffle: { seed: 1, windowMs: 10 } });
    const client = await dial(jetstream.url);
    write('a');
    await client.until(1);
    expect(client.names()).toEqual(['a']);
  });
});

describe('a fault', () => {
  test('breaks the links, at once or after so many frames', async () => {
    const { network, write } = world();
    const jetstream = await hostOf(network);
    const one = await dial(jetstream.url);
    jetstream.dropAll();
    expect(await one.closed).toBe(1006);
    const two = await dial(jetstream.url);
    jetstream.dropAfter(2);
    for (const name of ['a', 'b', 'c']) write(name);
    expect(await two.closed).toBe(1006);
    expect(two.names()).toEqual(['a', 'b']);
    await jetstream.connected(2);
    expect(jetstream.connections.map(({ sent }) => sent)).toEqual([0, 2]);
    await jetstream.until(
      () => jetstream.connections.every(({ closedAt }) => closedAt !== undefined),
      'both to be closed',
    );
  });

  test('refuses dials, leaves them without an answer, or is not there at all', async () => {
    const { network, write } = world();
    const jetstream = await hostOf(network);
    jetstream.faults.refuse = 503;
    expect(await refusal(jetstream.url, '')).toBe(503);
    jetstream.faults.refuse = undefined;

    jetstream.faults.hang = true;
    const hung = new WebSocket(jetstream.url);
    hung.on('error', () => {});
    await jetstream.until(() => jetstream.dials() === 2, 'the dial');
    jetstream.faults.hang = false;

    const client = await dial(jetstream.url);
    expect(hung.readyState).toBe(WebSocket.CONNECTING);
    await jetstream.stop();
    expect(await client.closed).toBe(1006);
    await expect(once(new WebSocket(jetstream.url), 'open')).rejects.toThrow('ECONNREFUSED');
    write('meanwhile');
    await jetstream.start();
    const back = await dial(jetstream.url, { cursor: '3' });
    await back.until(1);
    expect(back.names()).toEqual(['meanwhile']);
  });

  test('goes silent without a word', async () => {
    const { network, write } = world();
    const jetstream = await hostOf(network, { pingMs: 5 });
    const client = await dial(jetstream.url);
    await client.pinged;
    jetstream.halfOpen();
    write('a');
    const second = await dial(jetstream.url, { cursor: '3' });
    await second.until(1);
    expect(client.frames).toEqual([]);
    expect(client.ws.readyState).toBe(WebSocket.OPEN);
  });

  test('holds everything back until it goes on', async () => {
    const { network, write } = world();
    const jetstream = await hostOf(network);
    const client = await dial(jetstream.url);
    jetstream.pause();
    write('a');
    expect(await client.settled()).toEqual([]);
    jetstream.resume();
    await client.until(1);
  });

  test('sends everything twice, again, or from the oldest on', async () => {
    const { network, write } = world();
    const jetstream = await hostOf(network);
    write('a');
    jetstream.faults.ignoreCursor = true;
    jetstream.faults.double = true;
    const client = await dial(jetstream.url);
    await client.until(6);
    jetstream.faults.double = false;
    jetstream.replayAll();
    write('b');
    await client.until(10);
    expect(client.names().filter((name) => name !== undefined)).toEqual(['a', 'a', 'a', 'b']);
  });

  test('sends any bytes, once or from its log', async () => {
    const { network, write } = world();
    const jetstream = await hostOf(network);
    const client = await dial(jetstream.url, { wantedCollections: REPO });
    const deep = '['.repeat(100_000);
    for (const bytes of ['', 'no JSON', deep, 'x'.repeat(3_000_000), '{"did":7}']) jetstream.raw(bytes);
    jetstream.raw(Buffer.from([0xff, 0x00]), true);
    jetstream.store(({ timeUs, seq }) => JSON.stringify({ did: null, time_us: timeUs, cursor: seq }));
    write('after');
    await client.until(8);
    expect(client.frames.slice(0, 3)).toEqual(['', 'no JSON', deep]);
    const again = await dial(jetstream.url, { cursor: '3' });
    await again.until(2);
    expect(again.frames).toEqual(client.frames.slice(6));
    expect(parse(again.frames[0] ?? '').cursor).toBe(3);
  });
});
