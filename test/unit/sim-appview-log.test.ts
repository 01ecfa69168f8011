import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { createLogPage } from '../../sim/appview/log.ts';
import { followLog, logText, logUrl, readLog } from '../../sim/appview/log-reader.ts';
import { register } from '../../sim/appview/register.ts';

const RKEY = '3n2rsm36hgg22';

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of cleanup.splice(0).toReversed()) await step();
});

describe('the registration of a spindle', () => {
  const did = 'did:plc:owner';

  const served = async (listener: RequestListener): Promise<string> => {
    const server = createServer(listener);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanup.push(() => {
      server.closeAllConnections();
      server.close();
    });
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  const saying = (status: number, body: string): Promise<string> =>
    served((request, response) => {
      if (request.url !== '/xrpc/sh.tangled.owner') response.statusCode = 418;
      else response.statusCode = status;
      response.end(body);
    });

  test('passes when the spindle names who registers it, however its address is written', async () => {
    const url = await saying(200, `{"owner":"${did}"}`);
    for (const spindle of [url, `${url}/`, url.replace('http', 'ws')]) {
      expect(await register(spindle, did)).toEqual({ ok: true, owner: did });
    }
  });

  test.each([
    [404, '{}', 'upgrade', 'must be upgraded'],
    [
      200,
      '{"owner":"did:plc:other"}',
      'mismatch',
      'owner mismatch: "did:plc:owner" registers it, but its owner is "did:plc:other"',
    ],
    [200, '{"owner":"DID:PLC:OWNER"}', 'mismatch', 'owner mismatch'],
    [500, '{}', 'failed', 'answers 500'],
    [204, '', 'failed', 'answers 204'],
    [200, '<html>', 'failed', 'cannot be read'],
    [200, '{"did":"did:plc:owner"}', 'failed', 'does not answer { owner }'],
  ])('fails at %i %s: %s', async (status, body, problem, message) => {
    expect(await register(await saying(status, body), did)).toEqual({
      ok: false,
      problem,
      message: expect.stringContaining(message),
    });
  });

  test('fails when nobody answers', async () => {
    const url = await served(() => {});
    expect(await register(url, did, 100)).toMatchObject({ ok: false, problem: 'failed' });
    expect(await register('http://127.0.0.1:1', did)).toMatchObject({ ok: false, problem: 'failed' });
  });
});

describe('the page of a log', () => {
  const time = '2026-01-10T12:00:05.123456789Z';
  const start = { kind: 'control', content: 'Test', time, step_id: 1, step_status: 'start', step_kind: 1 };
  const end = { ...start, time: '2026-01-10T12:00:09Z', step_status: 'end' };
  const line = (content: string, more: object = {}) => ({
    kind: 'data',
    content,
    time,
    step_id: 1,
    stream: 'stdout',
    ...more,
  });
  const shown = (...frames: (object | string)[]) => {
    const page = createLogPage();
    for (const frame of frames) page.receive(typeof frame === 'string' ? frame : JSON.stringify(frame));
    return page.page(true);
  };

  test('has a block for each step, with its lines, in the order of their starts', () => {
    const setUp = { kind: 'control', content: 'Set up', time, step_id: 0, step_status: 'start', step_command: 'init' };
    const { blocks, lost, problems } = shown(
      setUp,
      { ...start, step_command: 'make test' },
      line('one'),
      line('up', { step_id: 0 }),
      line('two\u001b[31mred'),
      { ...setUp, step_status: 'end', time: '2026-01-10T13:00:06.123+01:00' },
      end,
    );
    const startedAt = new Date('2026-01-10T12:00:05.123Z');
    expect(blocks).toEqual([
      { id: 0, name: 'Set up', command: 'init', kind: 'system', startedAt, durationMs: 1_000, lines: ['up'] },
      {
        id: 1,
        name: 'Test',
        command: 'make test',
        kind: 'user',
        startedAt,
        durationMs: 3_877,
        lines: ['one', 'two\u001b[31mred'],
      },
    ]);
    expect({ lost, problems }).toEqual({ lost: [], problems: [] });
  });

  test.each([
    ['no JSON', 'not JSON'],
    ['[]', 'not a JSON object'],
    [line('x', { time: 'now' }), 'time is not RFC 3339'],
    [line('x', { time: '2026-01-10 12:00:05Z' }), 'time is not RFC 3339'],
    [line('x', { time: '2026-13-10T12:00:05Z' }), 'time is not RFC 3339'],
    [line('x', { time: undefined }), 'time is not RFC 3339'],
    [line('x', { step_id: '1' }), 'step_id is not a whole number'],
    [line('x', { step_id: 1.5 }), 'step_id is not a whole number'],
    [line('x', { content: 7 }), 'content is not a string'],
    [line('x', { step_id: 2 }), 'step 2 was never started'],
    [{ ...end, step_id: 2 }, 'step 2 was never started'],
    [{ ...start, step_id: 2, step_kind: 'user' }, 'step_kind is not a whole number'],
    [{ ...start, step_id: 2, step_status: undefined }, 'nothing is shown for control ""'],
    [{ ...start, step_status: 'start' }, 'step 1 is there already'],
  ])('has no place for %j: %s', (frame, reason) => {
    const text = typeof frame === 'string' ? frame : JSON.stringify(frame);
    const { blocks, lost } = shown(start, frame, line('after'), end);
    expect(lost).toEqual([{ text, reason }]);
    expect(blocks.map(({ lines }) => lines)).toEqual([['after']]);
  });

  test('leaves out what stock spindles say of a failure before any log', () => {
    const before = { kind: 'control', content: '', time: '0001-01-01T00:00:00Z', step_id: 0, step_kind: 1 };
    const { blocks, lost } = shown(before, line('no such image', { step_id: 0, time: before.time }));
    expect(blocks).toEqual([]);
    expect(lost).toHaveLength(2);
  });

  test('names a step that is started twice, ends twice, ends before it starts or never ends', () => {
    expect(shown(start, start, end, end).problems).toEqual([
      'step 1 is started twice, as "Test" and "Test"',
      'step 1 ends twice',
    ]);
    expect(shown(start, { ...end, time: '2026-01-10T12:00:05Z' }).problems).toEqual([
      'step 1 ends 123 ms before its start',
    ]);
    expect(shown(start).problems).toEqual(['step 1 "Test" has no end, its timer runs on']);
  });

  test('matches names as Go does: without regard to case, and null is nothing', () => {
    const odd = Object.fromEntries(Object.entries(start).map(([name, value]) => [name.toUpperCase(), value]));
    expect(shown({ ...odd, step_command: null }, end).blocks).toMatchObject([{ id: 1, command: '', kind: 'user' }]);
  });
});

describe('a reader of a log', () => {
  /** a spindle that serves every log in one way */
  const spindle = async (serve: (ws: WebSocket, path: string) => void) => {
    const server = createServer((_request, response) => response.writeHead(404).end());
    const sockets = new WebSocketServer({ server });
    sockets.on('connection', (ws, request) => serve(ws, request.url ?? ''));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanup.push(() => {
      for (const client of sockets.clients) client.terminate();
      server.close();
    });
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  const time = '2026-01-10T12:00:05Z';
  const control = (status: string, id = 0) =>
    JSON.stringify({ kind: 'control', content: `step ${id}`, time, step_id: id, step_status: status, step_kind: 1 });
  const line = (content: string) => JSON.stringify({ kind: 'data', content, time, step_id: 0, stream: 'stdout' });
  const urlOf = (base: string) => logUrl(base, 'knot.example:3000', RKEY, 'two keys é.yml');

  test('asks as an appview does and says what a person sees at the end', async () => {
    let path = '';
    const url = urlOf(
      await spindle((ws, asked) => {
        path = asked;
        for (const frame of [control('start'), line('hello'), control('end')]) ws.send(frame);
        ws.close(1000, 'log stream complete');
      }),
    );
    const view = await readLog(url);
    expect(path).toBe(`/logs/knot.example:3000/${RKEY}/two%20keys%20%C3%A9.yml`);
    expect(view).toMatchObject({ lineCount: 1, frameCount: 3, lost: [], problems: [] });
    expect(view.closed).toEqual({ code: 1000, reason: 'log stream complete', graceful: true });
    expect(logText(view)).toBe('▾ step 0  (0 s)\n  hello\nclosed with 1000 log stream complete');
    const again = await readLog(url, { keep: false });
    expect(again).toMatchObject({ lineCount: 1, frames: [], digest: view.digest });
    expect(again.blocks[0]?.lines).toEqual([]);
  });

  test('follows what is written, until it has ended', async () => {
    let send: (frame: string) => void = () => {};
    let finish = (): void => {};
    const reader = followLog(
      urlOf(
        await spindle((ws) => {
          send = (frame) => ws.send(frame);
          finish = () => ws.close(1013, 'too slow');
          send(control('start'));
        }),
      ),
    );
    cleanup.push(() => reader.close());
    await reader.wait(({ blocks }) => blocks.length === 1);
    send(line('later'));
    const view = await reader.wait(({ lineCount }) => lineCount === 1);
    expect(view.closed).toBeUndefined();
    expect(view.problems).toEqual([]);
    await expect(reader.ended(20)).rejects.toThrow(/waited 20 ms in vain.*"later"/s);
    finish();
    expect(await reader.ended()).toMatchObject({
      closed: { code: 1013, graceful: false },
      problems: ['step 0 "step 0" has no end, its timer runs on'],
    });
  });

  test('sees a link that just ends as an end', async () => {
    const view = await readLog(urlOf(await spindle((ws) => ws.terminate())));
    expect(view.closed).toEqual({ code: 1006, reason: '', graceful: true });
  });

  test('is told when there is no such log', async () => {
    const server = createServer();
    server.on('upgrade', (_request, socket) => socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n'));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanup.push(() => server.close());
    const view = await readLog(urlOf(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`));
    expect(view).toMatchObject({ refused: 404, blocks: [], problems: [] });
    expect(logText(view)).toBe('no log: the spindle answers 404');
  });

  test('names a stream that breaks the protocol', async () => {
    const view = await readLog(urlOf(await spindle((ws) => ws.send(Buffer.from([0xff, 0xfe]), { binary: false }))));
    expect(view.problems).toEqual([expect.stringContaining('invalid UTF-8')]);
  });
});
