import type { AddressInfo, Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { pipelineId } from '../../src/pipeline/ids.ts';
import { httpApp, type HttpOptions } from '../../src/health/http.ts';
import { healthRoutes } from '../../src/health/health.ts';
import { buildServer, type ServerDeps } from '../../src/server/app.ts';
import type { Sql } from '../../src/store/db.ts';
import { publishStatuses } from '../../src/store/statuses.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { addPipeline } from '../support/outbox.ts';
import { raw, type Raw, upgrade } from '../support/raw.ts';
import { readEvents } from '../support/reader.ts';
import { until } from '../support/until.ts';

const knot = 'knot.example';
let database: FreshDatabase;
let sql: Sql;
let app: FastifyInstance;
let apps: FastifyInstance[] = [];
let sockets: Raw[] = [];
let logged: { msg: string; address?: string }[] = [];
const log = pino(
  { level: 'info' },
  { write: (line: string) => void logged.push(JSON.parse(line) as { msg: string; address?: string }) },
);

beforeEach(async () => {
  database = await freshDatabase();
  sql = database.sql;
  await addPipeline(sql, knot, 'p0', ['ci.yml']);
});
afterEach(async () => {
  for (const { socket } of sockets) socket.destroy();
  await Promise.all(apps.map((each) => each.close()));
  [apps, sockets, logged] = [[], [], []];
  await database.drop();
});

async function listen(made: FastifyInstance): Promise<string> {
  app = made;
  apps.push(app);
  await app.listen({ host: '127.0.0.1', port: 0 });
  return `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
}

const serve = (readers: ServerDeps['readers'] = {}, events: ServerDeps['events'] = {}): Promise<string> => {
  const identity = { hostname: 'spindle.example', owner: 'did:web:owner.example', dev: true };
  const logs = { closeMs: 200, pollMs: 600_000 };
  return listen(
    buildServer({ sql, log, ...identity, logs, events: { closeMs: 200, rewindMs: 0, ...events }, readers }),
  );
};

const plain = (options: HttpOptions): Promise<string> => {
  const made = httpApp(log, options);
  healthRoutes(made, {});
  made.post('/take', async () => ({ taken: true }));
  return listen(made);
};

/** Connections that the server has. */
const connections = (): Promise<number> =>
  new Promise((resolve, reject) =>
    app.server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
  );

const proxied = { trustedProxies: ['127.0.0.1'] };
const from = (address: string) => ({ 'X-Forwarded-For': address });

async function connect(base: string, text: string): Promise<Raw> {
  const made = await raw(base, text);
  sockets.push(made);
  return made;
}

/** As many requests for an upgrade at once; gives what each was answered. */
async function flood(base: string, count: number, target: string, headers: Record<string, string> = {}) {
  const made = await Promise.all(Array.from({ length: count }, () => connect(base, upgrade(target, headers))));
  const statuses = await Promise.all(made.map((each) => each.status()));
  const having = (status: number) => made.filter((_, n) => statuses[n] === status);
  return { made, open: having(101), busy: having(429), full: having(503) };
}

async function memory(): Promise<number> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  for (let n = 0; n < 3; n++) {
    collect();
    await setImmediate();
  }
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / 2 ** 20;
}

describe('a flood of readers', () => {
  test('of one address gets 50 places, others are served, and all is as before when it is over', async () => {
    const base = await serve(proxied);
    const before = await memory();
    const { made, open, busy } = await flood(base, 500, '/events', from('198.51.100.7'));
    expect([open.length, busy.length]).toEqual([50, 450]);
    for (const { closed } of busy)
      expect(await closed).toMatch(/\r\nRetry-After: 30\r\n[\s\S]*50 readers of your address/);

    const [other] = (await flood(base, 1, '/events', from('198.51.100.8'))).open;
    if (!other) throw new Error('the other address was not served');
    await publishStatuses(sql, pipelineId(knot, 'p0'), [{ job: 'ci.yml', attempt: 1, epoch: 0, status: 'running' }]);
    await until('the status', () => other.said().includes('"status":"running"'));
    expect((await fetch(`${base}/xrpc/sh.tangled.owner`)).status).toBe(200);

    for (const { socket } of made) socket.destroy();
    await until('the server has only the others', async () => (await connections()) <= 2);
    expect((await flood(base, 60, '/events', from('198.51.100.7'))).open).toHaveLength(50);
    for (const { socket } of sockets) socket.destroy();
    sockets = [];
    await until('all have left', async () => (await connections()) <= 1);
    expect((await memory()) - before).toBeLessThan(16);
  });

  test('is one line in the log, with what the operator may change', async () => {
    const base = await serve(proxied);
    await flood(base, 80, '/events', from('198.51.100.7'));
    const lines = logged.filter(({ msg }) => msg.includes('turned away'));
    expect(lines).toEqual([
      expect.objectContaining({
        address: '198.51.100.7',
        msg: expect.stringContaining('WHORL_MAX_READERS_PER_ADDRESS') as string,
      }),
    ]);
  });

  test('from everywhere stops at the limit of all, and other requests are answered', async () => {
    const base = await serve({ ...proxied, most: 100 });
    const floods = await Promise.all(
      Array.from({ length: 10 }, (_, n) => flood(base, 20, '/events', from(`198.51.100.${n}`))),
    );
    expect(floods.flatMap(({ open }) => open)).toHaveLength(100);
    const full = floods.flatMap((each) => each.full);
    expect(full).toHaveLength(100);
    for (const { closed } of full) expect(await closed).toMatch(/^HTTP\/1\.1 503 .*\r\n[\s\S]*\r\nRetry-After: 10\r\n/);
    expect((await fetch(`${base}/.well-known/did.json`)).status).toBe(200);
  });

  test('of logs counts with that of statuses, also when there is no such log', async () => {
    const base = await serve({ ...proxied, mostPerAddress: 10 });
    const events = await flood(base, 6, '/events', from('198.51.100.7'));
    const logs = await flood(base, 6, `/logs/${knot}/p0/ci.yml`, from('198.51.100.7'));
    expect([events.open.length, logs.open.length, logs.busy.length]).toEqual([6, 4, 2]);
    for (const { socket } of logs.open) socket.destroy();
    for (let n = 0; n < 20; n++) {
      const [missing] = (await flood(base, 1, `/logs/${knot}/p0/none.yml`, from('198.51.100.7'))).made;
      expect(await missing?.status()).toBe(404);
      await missing?.closed;
    }
  });
});

describe('who a reader counts as', () => {
  test('behind a proxy that nobody named is nobody: only the limit of all holds', async () => {
    const base = await serve({ most: 80 });
    const { open, full } = await flood(base, 90, '/events', from('198.51.100.7'));
    expect([open.length, full.length]).toEqual([80, 10]);
  });

  test('is what the proxy says, and not what the reader wrote before it', async () => {
    const base = await serve({ ...proxied, mostPerAddress: 5 });
    const floods = await Promise.all(
      Array.from({ length: 10 }, (_, n) => flood(base, 1, '/events', from(`203.0.113.${n}, 198.51.100.7`))),
    );
    expect(floods.flatMap(({ open }) => open)).toHaveLength(5);
  });
});

describe('a connection', () => {
  test.each(['/nothing', '/logs', '/xrpc/sh.tangled.owner', `/logs/${knot}/p0/none.yml`])(
    'whose upgrade was refused is closed, though its client never hangs up: %s',
    async (target) => {
      const base = await serve();
      const { socket, closed, status } = await connect(base, upgrade(target));
      socket.pause();
      expect(await connections()).toBe(1);
      await until('the server closed it', async () => (await connections()) === 0);
      socket.resume();
      await closed;
      expect(await status()).toBeGreaterThanOrEqual(400);
    },
  );

  test('that says nothing gives way to another one, the oldest first', async () => {
    const base = await plain({ mostIdle: 20 });
    const silent: Raw[] = [];
    for (let n = 0; n < 30; n++) silent.push(await connect(base, n % 2 ? '' : 'GET /healthz HTTP/1.1\r\nHost: x\r\n'));
    await until('the first ten were closed', () => silent.slice(0, 10).every(({ socket }) => socket.closed));
    expect(silent.slice(11).every(({ socket }) => !socket.closed)).toBe(true);
    const answered = await connect(base, 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(await answered.status()).toBe(200);
  });

  test('that asked and now rests gives way too, and one whose request is under way does not', async () => {
    const base = await plain({ mostIdle: 3 });
    const busy = await connect(
      base,
      'POST /take HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{',
    );
    const rests: Raw[] = [];
    for (let n = 0; n < 6; n++) {
      const one = await connect(base, 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
      await one.status();
      rests.push(one);
    }
    await until('those who rest longest were closed', () => rests.slice(0, 3).every(({ socket }) => socket.closed));
    expect(busy.socket.closed).toBe(false);
    expect(busy.said()).toBe('');
    busy.socket.write('}');
    expect(await busy.status()).toBe(200);
  });

  test('above the limit is closed as it comes, and there is room again when others have left', async () => {
    const base = await plain({ most: 10 });
    const many = await Promise.all(Array.from({ length: 30 }, () => connect(base, '')));
    await until('twenty were closed', () => many.filter(({ socket }) => socket.closed).length === 20);
    expect(await connections()).toBe(10);
    for (const { socket } of many) socket.destroy();
    await until('there is room', async () => (await connections()) === 0);
    expect((await fetch(`${base}/healthz`)).status).toBe(200);
  });

  test.each([
    ['of which the head never ends', 'POST /healthz HTTP/1.1\r\nHost: x\r\n'],
    [
      'of which the body never ends',
      'POST /take HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n',
    ],
    [
      'of which the chunks never end',
      'POST /take HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n',
    ],
  ])('with a request %s is ended, however steadily it drips', async (_what, head) => {
    const base = await plain({ headMs: 300, requestMs: 400 });
    const slow = await connect(base, head);
    const drip = head.includes('chunked') ? '1\r\nx\r\n' : head.includes('100') ? 'x' : 'X-A: b\r\n';
    const dripping = setInterval(() => slow.socket.write(drip), 20);
    try {
      expect(await slow.closed).toMatch(/^HTTP\/1\.1 408 /);
    } finally {
      clearInterval(dripping);
    }
  });
});

describe('readers that take nothing', () => {
  /** Large statuses, more than the system's buffers hold. */
  const fill = (count: number) => sql`
    with tick as (update clock set last = greatest(last, 1000) + ${count} returning last - ${count} as base)
    insert into statuses (pipeline, knot, pipeline_rkey, job, attempt, epoch, rank, status, error, rkey, created_at, state, cursor)
    select ${pipelineId(knot, 'p0')}, ${knot}, 'p0', 'ci.yml', n, 0, 2, 'failed', repeat('x', 1900) || (base + n),
      'r' || (base + n), now(), 'sent', base + n
    from tick, generate_series(1, ${count}::int) n`;

  test('are closed one and all, hold up nobody, and leave nothing behind', async () => {
    const base = await serve({}, { writeDeadlineMs: 400 });
    await fill(6_000);
    const before = await memory();
    for (let n = 0; n < 40; n++) {
      const { socket } = await connect(base, '');
      socket.once('data', () => socket.pause()).write(upgrade('/events?cursor=1'));
    }
    await until('all are served', () => sockets.every(({ socket }) => socket.isPaused()));
    const quick = await readEvents(base, 1n);
    await until('the one that reads has all', () => quick.frames.length >= 6_000);
    await quick.close();
    await until('the others were closed', async () => (await connections()) === 0, 25_000);
    sockets = [];
    quick.frames.length = 0;
    expect((await memory()) - before).toBeLessThan(40);
  });

  test('and send ping after ping are closed, and no pongs pile up', async () => {
    const base = await serve({}, { writeDeadlineMs: 60_000 });
    const server = new Promise<Socket>((resolve) => app.server.once('upgrade', ({ socket }) => resolve(socket)));
    const reader = await connect(base, upgrade('/events'));
    await reader.status();
    reader.socket.pause();
    const ping = Buffer.concat([Buffer.from([0x89, 0xfd, 0, 0, 0, 0]), Buffer.alloc(125, 'p')]);
    const pings = Buffer.concat(Array.from({ length: 2_000 }, () => ping));
    const theirs = await server;
    await until('the server closed it', () => {
      if (reader.socket.writable) reader.socket.write(pings);
      expect(theirs.writableLength).toBeLessThan(200_000);
      return theirs.destroyed;
    });
    expect(await connections()).toBe(0);
  });
});

describe('a request for a WebSocket where there is none', () => {
  test('is answered like any other, and does not hold up the end', async () => {
    const base = await plain({});
    const asked = await connect(base, upgrade('/events'));
    expect(await asked.status()).toBe(404);
    expect(await (await connect(base, upgrade('/readyz'))).status()).toBe(200);
    await app.close();
  });
});
