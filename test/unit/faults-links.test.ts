import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { openLink } from '../../faults/links/index.ts';
import type { Link } from '../../faults/contract.ts';
import { until } from '../support/until.ts';

type Handler = (socket: Socket) => void;

const echo: Handler = (socket) => void socket.pipe(socket);

/** A server, and the sockets that it has got. */
async function serverOf(handler: Handler): Promise<{ at: string; sockets: Socket[]; server: Server }> {
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    handler(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { at: `127.0.0.1:${(server.address() as AddressInfo).port}`, sockets, server };
}

async function linkTo(...to: string[]): Promise<Link> {
  const link = await openLink({ name: 'l', protocol: 'tcp', to });
  onTestFinished(() => link.close());
  return link;
}

/** A client's connection: all that came, and how it ended. */
function dialled(port: number): { socket: Socket; got: () => string; size: () => number; fate: Promise<string> } {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  onTestFinished(() => void socket.destroy());
  const chunks: Buffer[] = [];
  let size = 0;
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    size += chunk.length;
  });
  const { promise: fate, resolve } = Promise.withResolvers<string>();
  socket.once('end', () => resolve('end'));
  socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  socket.once('close', () => resolve('close'));
  return { socket, got: () => Buffer.concat(chunks).toString('latin1'), size: () => size, fate };
}

test('bytes pass in both directions in their order, ends too, and nothing is left', async () => {
  const { at } = await serverOf(echo);
  const link = await linkTo(at);
  const { socket, got, fate } = dialled(link.port);
  const sent = randomBytes(20_000_000);
  socket.end(sent);
  expect(await fate).toBe('end');
  expect(got() === sent.toString('latin1')).toBe(true);
  await until('no connection is open', () => link.open === 0);
});

test('one side may end while the other still speaks', async () => {
  const { at, sockets } = await serverOf((socket) => {
    socket.end('a greeting and no more');
    socket.resume();
  });
  const link = await linkTo(at);
  const { socket, fate } = dialled(link.port);
  expect(await fate).toBe('end');
  const heard = once(sockets[0] ?? socket, 'end');
  socket.write('still here');
  expect(link.open).toBe(1);
  socket.end();
  await heard;
  await until('no connection is open', () => link.open === 0);
});

/** Writes as much as the connection takes; how much that was. */
async function filled(socket: Socket): Promise<() => number> {
  let taken = 0;
  const more = (): void => {
    while (taken < 100_000_000 && socket.write(randomBytes(65_536))) taken += 65_536;
  };
  socket.on('drain', more);
  more();
  let before = -1;
  await until('the source is blocked', () => {
    const still = before === taken;
    before = taken;
    return still;
  });
  return () => taken;
}

test('a source is not read any faster than what it leads to', async () => {
  const { at, sockets } = await serverOf((socket) => void socket.pause());
  const link = await linkTo(at);
  const { socket } = dialled(link.port);
  const taken = await filled(socket);
  const before = taken();
  expect(before).toBeLessThan(50_000_000);
  sockets[0]?.resume();
  await until('it goes on', () => taken() > before);
});

test('a break of one side is a break of the other, after what was sent before it', async () => {
  const { at, sockets } = await serverOf((socket) => void socket.write('some words'));
  const link = await linkTo(at);
  link.delay(50);
  const { socket, got, fate } = dialled(link.port);
  await until('the target has a connection', () => sockets[0]);
  sockets[0]?.resetAndDestroy();
  expect(await fate).toBe('ECONNRESET');
  expect(got()).toBe('some words');
  expect(socket.destroyed).toBe(true);
  await until('no connection is open', () => link.open === 0);
});

test('cut resets both sides of all connections and says how many', async () => {
  const { at, sockets } = await serverOf(echo);
  const link = await linkTo(at);
  const clients = [1, 2, 3].map(() => dialled(link.port));
  await until('all are connected', () => sockets.length === 3);
  const ends = sockets.map((socket) => new Promise((resolve) => void socket.once('close', resolve)));
  expect(link.cut()).toBe(3);
  expect(link.open).toBe(0);
  expect(await Promise.all(clients.map(({ fate }) => fate))).toEqual(['ECONNRESET', 'ECONNRESET', 'ECONNRESET']);
  await Promise.all(ends);
  expect(link.cut()).toBe(0);
});

test('a link that refuses resets new connections and leaves the open ones', async () => {
  const { at } = await serverOf(echo);
  const link = await linkTo(at);
  const open = dialled(link.port);
  open.socket.write('before');
  await until('an echo', () => open.got() === 'before');
  link.refuse();
  expect(await dialled(link.port).fate).toBe('ECONNRESET');
  open.socket.write(', after');
  await until('an echo', () => open.got() === 'before, after');
  link.mend();
  const next = dialled(link.port);
  next.socket.write('mended');
  await until('an echo', () => next.got() === 'mended');
});

test('targets take turns, one that refuses is passed over, and a client is reset when there is none', async () => {
  const names = ['a', 'b', 'c'];
  const servers = await Promise.all(names.map((name) => serverOf((socket) => void socket.end(name))));
  const link = await linkTo(...servers.map(({ at }) => at));
  const next = async (): Promise<string> => {
    const { socket, got, fate } = dialled(link.port);
    const how = await fate;
    socket.end();
    return how === 'end' ? got() : how;
  };
  expect([await next(), await next(), await next(), await next()]).toEqual(['a', 'b', 'c', 'a']);
  servers[1]?.server.close();
  expect([await next(), await next(), await next(), await next()]).toEqual(['c', 'c', 'a', 'c']);
  link.to(servers[1]?.at ?? '');
  expect(await next()).toBe('ECONNRESET');
  link.to();
  expect(await next()).toBe('ECONNRESET');
});

test('a target that does not accept counts as one that refuses', async () => {
  // Addresses for documentation: nobody answers there, or there is no way to them.
  const { at } = await serverOf((socket) => void socket.end('the other'));
  const link = await linkTo('192.0.2.1:9', at);
  const { got, fate } = dialled(link.port);
  expect(await fate).toBe('end');
  expect(got()).toBe('the other');
});

test('half open: nothing passes any more, not even an end, and mend ends those', async () => {
  const { at, sockets } = await serverOf(echo);
  const link = await linkTo(at);
  const [one, two] = [dialled(link.port), dialled(link.port)];
  for (const { socket, got } of [one, two]) {
    socket.write('before');
    await until('an echo', () => got() === 'before');
  }
  let ended = 0;
  for (const socket of sockets) {
    socket.once('end', () => (ended += 1));
    socket.once('close', () => (ended += 1));
  }
  link.halfOpen();
  const late = dialled(link.port);
  await once(late.socket, 'connect');
  one.socket.write('lost');
  one.socket.end();
  two.socket.resetAndDestroy();
  late.socket.write('lost too');
  for (const socket of sockets) socket.write('also lost');
  // What passes at all does so within a round trip over another link.
  const other = dialled((await linkTo(at)).port);
  other.socket.write('passed');
  await until('an echo', () => other.got() === 'passed');
  expect([one.got(), late.got(), ended]).toEqual(['before', '', 0]);
  expect(sockets.length).toBe(3);
  expect(link.open).toBe(3);
  link.mend();
  expect(link.open).toBe(0);
  expect([await one.fate, await late.fate]).toEqual(['ECONNRESET', 'ECONNRESET']);
  await until('both are gone at the target', () => ended >= 2);
  const next = dialled(link.port);
  next.socket.write('mended');
  await until('an echo', () => next.got() === 'mended');
});

test('delay makes each direction later and changes no order', async () => {
  const { at } = await serverOf(echo);
  const link = await linkTo(at);
  const { socket, got, fate } = dialled(link.port);
  link.delay(40);
  const start = performance.now();
  const words = Array.from({ length: 200 }, (_, n) => `${n} `);
  for (const word of words) {
    socket.write(word);
    await new Promise(setImmediate);
  }
  // The rest overtakes nothing when the link is mended in between.
  await until('a first echo', () => got() !== '');
  expect(performance.now() - start).toBeGreaterThanOrEqual(80);
  socket.write('x'.repeat(100_000));
  link.mend();
  socket.end('end');
  expect(await fate).toBe('end');
  expect(got()).toBe(`${words.join('')}${'x'.repeat(100_000)}end`);
});

test('slow passes at most so many bytes a second in each direction, shared by all connections', async () => {
  const { at } = await serverOf(echo);
  const link = await linkTo(at);
  link.slow(50_000);
  const start = performance.now();
  const clients = [1, 2, 3].map(() => dialled(link.port));
  for (const { socket } of clients) socket.write(randomBytes(10_000));
  await until('a part of each', () => clients.every(({ size }) => size() > 0));
  await until('all', () => clients.every(({ size }) => size() === 10_000));
  const seconds = (performance.now() - start) / 1000;
  // Forth and back run at the same time; a tenth of a second's worth may pass at once.
  expect(seconds).toBeGreaterThan(0.5);
  const [one] = clients;
  one?.socket.write(randomBytes(10_000_000));
  link.mend();
  await until('the rest at once', () => one?.size() === 10_010_000);
});

test('a link that is slow holds its source back', async () => {
  const { at } = await serverOf(echo);
  const link = await linkTo(at);
  link.slow(1_000);
  const { socket } = dialled(link.port);
  const taken = await filled(socket);
  const before = taken();
  expect(before).toBeLessThan(50_000_000);
  link.mend();
  await until('it goes on', () => taken() > before);
});

test('a link without a protocol has no points', async () => {
  const link = await linkTo();
  expect(() => link.arm({ when: 'before', what: 'call' }, () => 'pass')).toThrow('link l has no point call');
});

test('a closed link leaves nothing behind, and an idle one has no timers', async () => {
  const handles = (): string[] => process.getActiveResourcesInfo().filter((name) => /TCP|Connect/.test(name));
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const before = handles();
  const { at, sockets, server } = await serverOf(echo);
  const link = await openLink({ name: 'l', protocol: 'tcp', to: [at] });
  const idle = timers();
  const clients = Array.from({ length: 10 }, () => dialled(link.port));
  for (const { socket, got } of clients) {
    socket.write('hello');
    await until('an echo', () => got() === 'hello');
  }
  expect(timers()).toBeLessThanOrEqual(idle);
  link.slow(10);
  link.delay(10_000);
  for (const { socket } of clients) socket.write('on its way');
  link.halfOpen();
  const late = dialled(link.port);
  await once(late.socket, 'connect');
  await link.close();
  await link.close();
  expect(link.open).toBe(0);
  for (const { fate } of [...clients, late]) expect(await fate).toBe('ECONNRESET');
  for (const socket of sockets) socket.destroy();
  server.close();
  await until('all handles are gone', () => handles().length <= before.length);
  expect(timers()).toBeLessThanOrEqual(idle);
});
