import { afterEach, describe, expect, test } from 'vitest';
import { type AppviewOptions, startAppview } from '../../sim/appview/appview.ts';
import { createBook } from '../../sim/appview/book.ts';
import { pipelineTable } from '../../sim/appview/table.ts';
import { startKnot } from '../../sim/knot/knot.ts';
import { type Status, statusFrame, statusRecord } from '../../src/forges/tangled/status.ts';
import { newTid } from '../../src/forges/tangled/tid.ts';

const KNOT = 'localhost:6000';
const RKEY = '3n2rsm36hgg22';
const NOW = Date.parse('2026-11-20T12:00:30Z');
/** a time within the last half minute, by its seconds */
const at = (seconds: number): Date => new Date(NOW - 30_000 + seconds * 1000);

describe('the book of an appview', () => {
  const setUp = (options: { reopenings?: boolean; known?: boolean } = {}) => {
    const book = createBook({ now: () => NOW, reopenings: options.reopenings ?? false });
    if (options.known !== false) book.learn(KNOT, RKEY);
    const take = (status: string, seconds: number, more: object = {}, rkey = newTid()) => {
      const record = statusRecord({
        knot: KNOT,
        rkey: RKEY,
        workflow: 'ci.yml',
        status: 'pending',
        createdAt: at(seconds).toISOString(),
      });
      const event = { ...record, status, ...more };
      return book.receive('spindle', JSON.stringify({ event, nsid: 'sh.tangled.pipeline.status', rkey }));
    };
    return { book, take, history: () => book.view(KNOT, RKEY).jobs['ci.yml']?.history.map((entry) => entry.status) };
  };

  test('shows the last status, and the time from the start to the end', () => {
    const { book, take } = setUp();
    take('pending', 1);
    take('running', 4.9);
    take('failed', 9.1, { error: 'exit 1', exitCode: 1 });
    expect(book.view(KNOT, RKEY)).toEqual({
      known: true,
      jobs: {
        'ci.yml': {
          status: 'failed',
          error: 'exit 1',
          durationMs: 5000,
          history: [
            { status: 'pending', at: at(1), rkey: expect.any(String) },
            { status: 'running', at: at(4), rkey: expect.any(String) },
            { status: 'failed', at: at(9), rkey: expect.any(String), error: 'exit 1', exitCode: 1 },
          ],
        },
      },
    });
    expect(book.problems()).toEqual([]);
    expect(pipelineTable(KNOT, RKEY, book.view(KNOT, RKEY))).toContain('pending → running → failed');
  });

  test('sorts by createdAt, so a late arrival harms nothing', () => {
    const { book, take, history } = setUp();
    take('success', 9);
    take('pending', 1);
    take('running', 5);
    expect(history()).toEqual(['pending', 'running', 'success']);
    expect(book.problems()).toEqual([]);
  });

  test('takes each rkey once', () => {
    const { book, take } = setUp();
    const rkey = newTid();
    expect(take('pending', 1, {}, rkey).kind).toBe('stored');
    expect(take('pending', 1, {}, rkey).kind).toBe('repeated');
    expect(book.problems()).toEqual([]);
    expect(take('running', 2, {}, rkey).kind).toBe('repeated');
    expect(book.problems()).toEqual([expect.stringContaining('has the rkey of another (ci.yml pending)')]);
    expect(book.counts).toEqual({ stored: 1, repeated: 2, lost: 0 });
  });

  test('loses the status of a pipeline that it does not know, until it does', () => {
    const { book, take } = setUp({ known: false });
    const rkey = newTid();
    expect(take('pending', 1, {}, rkey).kind).toBe('lost');
    expect(book.view(KNOT, RKEY)).toEqual({ known: false, jobs: {} });
    expect(book.problems()).toEqual([expect.stringContaining('not known (yet)')]);
    book.learn(KNOT, RKEY);
    expect(take('pending', 1, {}, rkey).kind).toBe('stored');
  });

  test('accepts the same status sent once more with the same createdAt', () => {
    const { book, take, history } = setUp();
    take('pending', 1);
    take('running', 2);
    take('running', 2);
    expect(history()).toEqual(['pending', 'running', 'running']);
    expect(book.problems()).toEqual([]);
  });

  test('takes the empty $type of Go, or none', () => {
    const { book, take } = setUp();
    take('pending', 1, { $type: '' });
    take('running', 2, { $type: null });
    expect(book.problems()).toEqual([]);
  });

  test('finds a step down, unless a job may be opened again', () => {
    const { book, take } = setUp();
    take('running', 1);
    take('success', 2);
    take('running', 3);
    expect(book.problems()).toEqual([`${KNOT}/${RKEY} ci.yml: goes down from success to running`]);

    const again = setUp({ reopenings: true });
    for (const [i, status] of ['running', 'success', 'pending', 'running', 'pending'].entries()) again.take(status, i);
    expect(again.book.problems()).toEqual([`${KNOT}/${RKEY} ci.yml: goes down from running to pending`]);
  });

  test('finds two statuses in one second', () => {
    const { book, take } = setUp();
    take('pending', 1);
    take('running', 1.9);
    expect(book.problems()).toEqual([expect.stringContaining('pending and running are of the same second')]);
  });

  test('sets a createdAt of the future to its own clock', () => {
    const { book, take } = setUp();
    take('pending', 3600);
    expect(book.view(KNOT, RKEY).jobs['ci.yml']?.history[0]?.at).toEqual(new Date(NOW));
    expect(book.problems()).toEqual([expect.stringContaining('in the future')]);
  });

  test.each([
    ['another $type', { $type: 'sh.tangled.pipeline' }, 'stored', 'has the $type'],
    ['an unknown word', { status: 'done' }, 'stored', 'none of the six'],
    ['a time in words', { createdAt: 'yesterday' }, 'stored', 'not RFC 3339'],
    ['no status', { status: undefined }, 'lost', 'cannot be read'],
    ['no name', { workflow: '' }, 'lost', 'cannot be read'],
    ['no createdAt', { createdAt: null }, 'lost', 'cannot be read'],
    [
      'an encoded port',
      { pipeline: `at://did:web:localhost%3A6000/sh.tangled.pipeline/${RKEY}` },
      'lost',
      'which is not',
    ],
    ['another collection', { pipeline: `at://did:web:${KNOT}/sh.tangled.ci.pipeline/${RKEY}` }, 'lost', 'which is not'],
  ])('names a status with %s', (_name, more, kind, problem) => {
    const { book, take } = setUp();
    expect(take('pending', 1, more).kind).toBe(kind);
    expect(book.problems()).toEqual([expect.stringContaining(problem)]);
  });

  test('names an rkey that is no TID, and a frame that is no JSON', () => {
    const { book, take } = setUp();
    take('pending', 1, {}, 'not-a-tid');
    expect(book.receive('spindle', '{"nsid":').kind).toBe('lost');
    expect(book.problems()).toEqual([
      expect.stringContaining('no TID'),
      expect.stringContaining('not a JSON envelope'),
    ]);
  });

  test('ignores keepalives and everything that is no status', () => {
    const { book } = setUp();
    expect(book.receive('spindle', '{"type":"ping"}').kind).toBe('ignored');
    expect(book.receive('spindle', '{"nsid":"sh.tangled.pipeline","rkey":"x","event":{}}').kind).toBe('ignored');
    expect(book.problems()).toEqual([]);
  });
});

describe('an appview', () => {
  const cleanup: (() => unknown)[] = [];
  afterEach(async () => {
    for (const step of cleanup.splice(0).toReversed()) await step();
  });

  // A knot's stream and a spindle's have the same shape (tangled core), so a simulated knot stands for a spindle.
  const setUp = async (options: Partial<AppviewOptions> = {}) => {
    const spindle = await startKnot();
    cleanup.push(() => spindle.close());
    const appview = startAppview({ spindleUrl: spindle.url, redialMs: 5, maxRedialMs: 20, ...options });
    cleanup.push(() => appview.close());
    const publish = (status: Status, createdAt = new Date(), knot = KNOT, rkey = RKEY): string => {
      const frame = statusFrame(newTid(), {
        knot,
        rkey,
        workflow: 'ci.yml',
        status,
        createdAt: createdAt.toISOString(),
      });
      spindle.replay([frame], 'now');
      return frame;
    };
    await appview.connected();
    return { spindle, appview, publish };
  };

  test('learns pipelines from a knot and statuses from a spindle', async () => {
    const knot = await startKnot();
    cleanup.push(() => knot.close());
    const { appview, publish } = await setUp({ pipelinesFrom: [knot.url] });
    const { rkey } = knot.push({ repo: { did: 'did:plc:a', name: 'r' }, workflows: [{ name: 'ci.yml', raw: 'x' }] });
    await appview.wait(knot.host, rkey, (view) => view.known);
    publish('pending', new Date(Date.now() - 5_000), knot.host, rkey);
    publish('success', new Date(Date.now() - 2_000), knot.host, rkey);
    const view = await appview.wait(knot.host, rkey, ({ jobs }) => jobs['ci.yml']?.status === 'success');
    expect(view.jobs['ci.yml']?.history).toHaveLength(2);
    expect(appview.problems).toEqual([]);
    expect(appview.pipelines()).toEqual([[knot.host, rkey]]);
  });

  test('dials first without a cursor, and then with its own clock at the last message', async () => {
    const { spindle, appview, publish } = await setUp({ pipelinesFrom: () => true });
    const before = Date.now();
    publish('pending', new Date(before - 5_000));
    await appview.wait(KNOT, RKEY, ({ jobs }) => jobs['ci.yml']?.status === 'pending');
    const after = Date.now();
    appview.disconnect();
    publish('running', new Date(before - 3_000));
    await appview.connected(2);
    await appview.wait(KNOT, RKEY, ({ jobs }) => jobs['ci.yml']?.status === 'running');
    expect(spindle.connections.map(({ cursor }) => cursor)).toEqual([undefined, expect.stringMatching(/^\d{19}$/)]);
    const cursor = Number(spindle.connections[1]?.cursor?.slice(0, 13));
    expect(cursor).toBeGreaterThanOrEqual(before);
    expect(cursor).toBeLessThanOrEqual(after);
    expect(appview.dials.map((dial) => dial.cursor)).toEqual(spindle.connections.map((dial) => dial.cursor));
  });

  test('goes on dialling while the spindle refuses', async () => {
    const { spindle, appview } = await setUp();
    spindle.faults.refuse = 503;
    spindle.dropAll();
    await expect.poll(() => appview.dials.length, { timeout: 10_000 }).toBeGreaterThan(3);
    spindle.faults.refuse = undefined;
    await appview.connected(2);
  });

  test('that is stuck takes nothing, and everything when it goes on', async () => {
    const { spindle, appview, publish } = await setUp({ pipelinesFrom: () => true });
    appview.stall();
    publish('pending', new Date(Date.now() - 5_000));
    await expect.poll(() => spindle.connections[0]?.sent, { timeout: 10_000 }).toBe(1);
    expect(appview.frames).toHaveLength(0);
    appview.resume();
    await appview.wait(KNOT, RKEY, ({ jobs }) => jobs['ci.yml']?.status === 'pending');
  });

  test('that waits in vain says what it has', async () => {
    const { appview } = await setUp();
    await expect(appview.wait(KNOT, RKEY, (view) => view.known, 10)).rejects.toThrow(
      /waited 10 ms in vain.*"known": false/s,
    );
  });
});
