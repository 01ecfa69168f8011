import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import type { Link } from '../../faults/contract.ts';
import { openLink } from '../../faults/links/index.ts';
import { until } from '../support/until.ts';

interface Parts {
  server: Http2Server;
  /** The server's side of each session. */
  sessions: ServerHttp2Session[];
  link: Link;
  client: ClientHttp2Session;
}

type Answer = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

async function parts(answer: Answer): Promise<Parts> {
  const sessions: ServerHttp2Session[] = [];
  const server = createServer();
  server.on('session', (session) => {
    sessions.push(session);
    session.on('error', () => {});
  });
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    answer(stream, headers);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const to = [`127.0.0.1:${(server.address() as AddressInfo).port}`];
  const link = await openLink({ name: 'h2', protocol: 'grpc', to });
  const client = dialled(link);
  onTestFinished(async () => {
    client.destroy();
    await link.close();
    server.close();
  });
  return { server, sessions, link, client };
}

function dialled(link: Link): ClientHttp2Session {
  const client = connect(`http://127.0.0.1:${link.port}`);
  client.on('error', () => {});
  onTestFinished(() => client.destroy());
  return client;
}

interface Answered {
  headers: IncomingHttpHeaders;
  flags: number;
  trailers: IncomingHttpHeaders | undefined;
  body: Buffer;
  code: number;
}

async function answerOf(stream: ClientHttp2Stream): Promise<Answered> {
  stream.on('error', () => {});
  const found: Answered = { headers: {}, flags: 0, trailers: undefined, body: Buffer.alloc(0), code: 0 };
  stream.once('response', (headers, flags) => Object.assign(found, { headers, flags }));
  stream.once('trailers', (trailers) => (found.trailers = trailers));
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => void chunks.push(chunk));
  await new Promise((resolve) => void stream.once('close', resolve));
  return { ...found, body: Buffer.concat(chunks), code: stream.rstCode };
}

const call = (client: ClientHttp2Session, path: string, body?: Buffer): ClientHttp2Stream => {
  const stream = client.request(
    { ':method': 'POST', ':path': path, te: 'trailers', 'x-bin': 'AAA,BBB' },
    { endStream: !body },
  );
  if (body) stream.end(body);
  return stream;
};

test('headers, large bodies and trailers pass as they are, many at once, whether something waits or not', async () => {
  const { link, client } = await parts((stream, headers) => {
    void buffer(stream).then((body) => {
      stream.respond(
        { ':status': 200, 'x-got': [headers[':path'], headers['x-bin']].join(' ') },
        { waitForTrailers: true },
      );
      stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', 'x-size': String(body.length) }));
      stream.end(body);
    });
  });
  const one = async (n: number): Promise<void> => {
    const body = randomBytes(n * 30_000);
    const { headers, trailers, body: back } = await answerOf(call(client, `/service/Echo${n}`, body));
    expect(headers['x-got']).toBe(`/service/Echo${n} AAA,BBB`);
    expect(Object.keys(headers).sort()).toEqual([':status', 'date', 'x-got']);
    expect(trailers).toMatchObject({ 'grpc-status': '0', 'x-size': String(body.length) });
    expect(back.equals(body)).toBe(true);
  };
  await Promise.all(Array.from({ length: 20 }, (_, n) => one(n)));
  const armed = link.arm({ when: 'after', what: 'call', match: /^Echo7$/ }, () => 'pass');
  await Promise.all(Array.from({ length: 20 }, (_, n) => one(n)));
  expect(await armed.hit).toBe('Echo7');
});

test('an answer that is only trailers stays one', async () => {
  const { link, client } = await parts((stream) =>
    stream.respond({ ':status': 200, 'grpc-status': '5' }, { endStream: true }),
  );
  for (const armed of [false, true]) {
    if (armed) link.arm({ when: 'after', what: 'call' }, () => 'pass');
    const { headers, flags, trailers, body } = await answerOf(call(client, '/service/None'));
    expect(headers['grpc-status']).toBe('5');
    expect(flags & constants.NGHTTP2_FLAG_END_STREAM).not.toBe(0);
    expect([trailers, body.length]).toEqual([undefined, 0]);
  }
});

test('an answer that streams comes as it is made, and a client that stops it stops it at the server', async () => {
  const ends: number[] = [];
  const { client } = await parts((stream) => {
    stream.respond({ ':status': 200 });
    stream.write('first');
    stream.once('close', () => void ends.push(stream.rstCode));
  });
  const stream = call(client, '/service/Watch');
  stream.on('error', () => {});
  const [chunk] = (await once(stream, 'data')) as [Buffer];
  expect(String(chunk)).toBe('first');
  stream.close(constants.NGHTTP2_CANCEL);
  await until('the server was told', () => ends.length === 1);
  expect(ends).toEqual([constants.NGHTTP2_CANCEL]);
});

test('a stream that the server resets is reset with the same code, and others go on', async () => {
  const { client } = await parts((stream, headers) => {
    if (headers[':path'] === '/service/Refused') stream.close(constants.NGHTTP2_REFUSED_STREAM);
    else if (headers[':path'] === '/service/Half') {
      // without trailers to wait for Node says first that the stream is complete
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.write('half', () => stream.close(constants.NGHTTP2_INTERNAL_ERROR));
    } else void buffer(stream).then(() => stream.respond({ ':status': 200, 'grpc-status': '0' }, { endStream: true }));
  });
  const [refused, half, fine] = await Promise.all(
    ['Refused', 'Half', 'Fine'].map((name) => answerOf(call(client, `/service/${name}`))),
  );
  expect(refused?.code).toBe(constants.NGHTTP2_REFUSED_STREAM);
  expect([String(half?.body), half?.code]).toEqual(['half', constants.NGHTTP2_INTERNAL_ERROR]);
  expect([fine?.headers['grpc-status'], fine?.code]).toEqual(['0', 0]);
});

test('a request that the client breaks off in the middle never looks complete to the server', async () => {
  const seen: string[] = [];
  const { client } = await parts((stream) => {
    stream.resume();
    stream.once('end', () => void seen.push(stream.rstCode === 0 ? 'complete' : 'broken'));
    stream.once('close', () => void seen.push(`closed ${stream.rstCode}`));
    stream.respond({ ':status': 200 });
  });
  const stream = client.request({ ':method': 'POST', ':path': '/service/Half' }, { waitForTrailers: true });
  stream.on('error', () => {});
  stream.write('half of it');
  await once(stream, 'response');
  stream.close(constants.NGHTTP2_CANCEL);
  await until('the server was told', () => seen.some((words) => words.startsWith('closed')));
  expect(seen.at(-1)).toBe(`closed ${constants.NGHTTP2_CANCEL}`);
  expect(seen.join()).not.toContain('complete');
});

test('a server that goes away lets its calls end, and so does the link', async () => {
  const open: ServerHttp2Stream[] = [];
  const { client, sessions, link } = await parts((stream) => void open.push(stream));
  const answer = answerOf(call(client, '/service/Poll'));
  await until('the call has come', () => open[0]);
  const goneAway = once(client, 'goaway');
  sessions[0]?.close();
  expect((await goneAway)[0]).toBe(0);
  expect(client.closed).toBe(true);
  open[0]?.respond({ ':status': 200, 'grpc-status': '0' }, { endStream: true });
  expect((await answer).headers['grpc-status']).toBe('0');
  await until('both sessions have ended', () => client.destroyed && sessions[0]?.destroyed);
  await until('no connection is open', () => link.open === 0);
});

test('a session that ends on one side ends on the other', async () => {
  const { client, sessions, link } = await parts(() => {});
  const answer = answerOf(call(client, '/service/Poll'));
  await until('a session', () => sessions.length === 1);
  sessions[0]?.destroy();
  await answer;
  await until('the client has lost it', () => client.destroyed);

  const second = dialled(link);
  second.ping(() => {});
  void answerOf(call(second, '/service/Poll'));
  await until('a session', () => sessions.length === 2);
  second.destroy();
  await until('the server has lost it', () => sessions[1]?.destroyed);
  await until('no connection is open', () => link.open === 0);
});

test('a drop ends the session of that client, with all its calls, and no other', async () => {
  const open: ServerHttp2Stream[] = [];
  const { client, sessions, link } = await parts((stream) => void open.push(stream));
  const other = dialled(link);
  const polls = [client, other].map((session) => answerOf(call(session, '/service/Poll')));
  await until('both polls have come', () => open.length === 2);
  const armed = link.arm({ when: 'before', what: 'call', match: /^Start$/ }, () => 'drop');
  const start = answerOf(call(client, '/service/Start', randomBytes(100_000)));
  expect(await armed.hit).toBe('Start');
  expect((await start).headers).toEqual({});
  expect((await polls[0])?.headers).toEqual({});
  await until('one session is left', () => sessions.filter(({ destroyed }) => !destroyed).length === 1);
  expect(open).toHaveLength(2);
  expect([client.destroyed, other.destroyed, link.open]).toEqual([true, false, 1]);
  for (const stream of open) if (!stream.destroyed) stream.respond({ ':status': 200 }, { endStream: true });
  expect((await polls[1])?.headers[':status']).toBe(200);
});

test('a stream that nobody reads stops its source, and no other stream', async () => {
  const { client } = await parts((stream, headers) => {
    if (headers[':path'] === '/service/Small') void buffer(stream).then((body) => stream.end(body));
    else stream.respond({ ':status': 200 });
  });
  const endless = client.request({ ':method': 'POST', ':path': '/service/Endless' }, { endStream: false });
  endless.on('error', () => {});
  const block = Buffer.alloc(1 << 16);
  let taken = 0;
  const more = (): void => {
    while (taken < 500_000_000 && endless.write(block)) taken += block.length;
  };
  endless.on('drain', more);
  more();
  let before = -1;
  await until('the source is blocked', () => {
    const still = before === taken;
    before = taken;
    return still;
  });
  expect(taken).toBeLessThan(100_000_000);
  const { body } = await answerOf(call(client, '/service/Small', Buffer.from('still here')));
  expect(String(body)).toBe('still here');
  endless.close(constants.NGHTTP2_CANCEL);
});

test('a closed link leaves no handle of its sessions behind', async () => {
  const handles = (): number => process.getActiveResourcesInfo().filter((name) => /TCP|HTTP2/i.test(name)).length;
  const before = handles();
  const { client, server, sessions, link } = await parts(() => {});
  for (const name of ['One', 'Two']) void answerOf(call(client, `/service/${name}`));
  const late = dialled(link);
  await once(late, 'connect');
  link.arm({ when: 'before', what: 'call' }, () => 60_000);
  void answerOf(call(late, '/service/Late'));
  await until('sessions', () => sessions.length === 2);
  await link.close();
  await link.close();
  expect(link.open).toBe(0);
  await until('both clients have lost theirs', () => client.destroyed && late.destroyed);
  server.close();
  await until('no handle is left', () => handles() <= before);
});
