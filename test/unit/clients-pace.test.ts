import { expect, test } from 'vitest';
import { ClientError } from '../../src/clients/error.ts';
import { hostPace } from '../../src/clients/pace.ts';
import { steadyNow } from '../../src/steady.ts';
import { until } from '../support/until.ts';

const { signal } = new AbortController();
const trouble = (details = {}) => new ClientError('unreachable', 'pds.example could not be reached', details);
const fails = (error: Error) => () => Promise.reject(error);

/** The most calls that any second saw, whenever it began. */
function mostInASecond(times: number[]): number {
  return Math.max(...times.map((start) => times.filter((time) => time >= start && time < start + 1000).length));
}

test('a host sees at most two calls in any second, however many wait', async () => {
  const pace = hostPace();
  const seen: number[] = [];
  // an answer takes its time, and the host may see the call at any moment of it
  const call = async (): Promise<void> => {
    seen.push(performance.now());
    await new Promise((resolve) => setImmediate(resolve));
    seen.push(performance.now());
  };
  await Promise.all(Array.from({ length: 5 }, () => pace.run('https://a.example', signal, call)));
  expect(seen).toHaveLength(10);
  // whichever moment of each call the host counts
  expect(mostInASecond(seen.filter((_, n) => n % 2 === 0))).toBe(2);
});

test('hosts do not wait for each other', async () => {
  const pace = hostPace({ perSecond: 1 });
  const hang = new AbortController();
  const hanging = pace.run('https://a.example', hang.signal, () => new Promise<void>(() => {}));
  const waiting = pace.run('https://a.example', hang.signal, () => Promise.resolve());
  waiting.catch(() => {});
  void hanging;
  expect(await pace.run('https://b.example', signal, () => Promise.resolve('b'))).toBe('b');
  hang.abort(new Error('enough'));
  await expect(waiting).rejects.toThrow('enough');
});

test('who gives up while waiting takes no turn away', async () => {
  const pace = hostPace({ perSecond: 1 });
  const calls: string[] = [];
  const call = (name: string) => async () => void calls.push(name);
  const gone = new AbortController();
  const first = pace.run('h', signal, call('first'));
  const second = pace.run('h', gone.signal, call('second'));
  const third = pace.run('h', signal, call('third'));
  gone.abort(new Error('gone'));
  await expect(second).rejects.toThrow('gone');
  await Promise.all([first, third]);
  expect(calls).toEqual(['first', 'third']);
});

test('a host that cannot be reached rests: those that wait for it fail at once, and it is not called', async () => {
  const pace = hostPace({ perSecond: 1, restMinMs: 60_000 });
  let calls = 0;
  const first = pace.run('h', signal, fails(trouble()));
  const second = pace.run('h', signal, async () => calls++);
  await expect(first).rejects.toThrow(/^pds\.example could not be reached$/);
  await expect(second).rejects.toMatchObject({ kind: 'unreachable' });
  const third = pace.run('h', signal, async () => calls++);
  await expect(third).rejects.toThrow(/could not be reached; it is not asked again before 2\d\d\d-/);
  expect(calls).toBe(0);
});

test('a rest gets longer with each failure, and ends with the first answer', async () => {
  const pace = hostPace({ perSecond: 100, restMinMs: 30, restMaxMs: 200 });
  const rest = async (): Promise<number> => {
    await expect(pace.run('h', signal, fails(trouble()))).rejects.toThrow(ClientError);
    const error: unknown = await pace.run('h', signal, () => Promise.resolve()).catch((thrown: unknown) => thrown);
    if (!(error instanceof ClientError) || !error.retryAt) throw new Error('it did not rest');
    const { retryAt } = error;
    const ms = retryAt.getTime() - steadyNow();
    await until('the rest to be over', () => steadyNow() > retryAt.getTime());
    return ms;
  };
  expect(await rest()).toBeLessThanOrEqual(30);
  expect(await rest()).toBeGreaterThan(30);
  await rest();
  expect(await rest()).toBeGreaterThan(120);
  await pace.run('h', signal, () => Promise.resolve());
  expect(await rest()).toBeLessThanOrEqual(30);
});

test('a host that was in trouble and has not been asked for long begins anew', async () => {
  const pace = hostPace({ perSecond: 100, restMinMs: 50, restMaxMs: 1_600 });
  const rest = async (host: string): Promise<number> => {
    await pace.run(host, signal, fails(trouble())).catch(() => {});
    const error: unknown = await pace.run(host, signal, () => Promise.resolve()).catch((thrown: unknown) => thrown);
    if (!(error instanceof ClientError) || !error.retryAt) throw new Error('it did not rest');
    return error.retryAt.getTime() - steadyNow();
  };
  const began = steadyNow();
  await rest('h');
  const first = steadyNow();
  await until('its rest to be over', () => steadyNow() > first + 60);
  expect(await rest('h')).toBeGreaterThan(50);
  // a second for its places, and the longest rest after its own
  await until('it has been left alone', () => steadyNow() > began + 60 + 100 + 1_010 + 1_700, 10_000);
  await pace.run('another', signal, () => Promise.resolve());
  expect(await rest('h')).toBeLessThanOrEqual(50);
});

test('a host that says when to come back is not asked before', async () => {
  const pace = hostPace({ restMinMs: 1, restMaxMs: 2 });
  const retryAt = new Date(steadyNow() + 3_600_000);
  const limited = new ClientError('status', 'pds.example answered 429', { status: 429, retryAt });
  await expect(pace.run('h', signal, fails(limited))).rejects.toBe(limited);
  await expect(pace.run('h', signal, () => Promise.resolve())).rejects.toMatchObject({ retryAt, status: 429 });
});

test.each([
  ['what concerns one account', new ClientError('status', 'x', { status: 400, xrpcError: 'RepoNotFound' })],
  ['a broken account', new ClientError('status', 'x', { status: 500 })],
  ['garbage', new ClientError('garbage', 'x')],
  ['too much', new ClientError('tooBig', 'x')],
  ['an error of our own', new Error('x')],
])('%s is no reason to let the host rest', async (_what, error) => {
  const pace = hostPace();
  await expect(pace.run('h', signal, fails(error))).rejects.toBe(error);
  expect(await pace.run('h', signal, () => Promise.resolve('fine'))).toBe('fine');
});
