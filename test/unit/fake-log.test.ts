import { expect, test } from 'vitest';
import { fakeProvider } from '../../src/providers/fake/fake.ts';
import { planFake } from '../../src/providers/fake/plan.ts';
import type { BuildRef, LogLine, LogPlace } from '../../src/providers/provider.ts';
import { requestFor } from '../conformance/provider.ts';

const never = (): AbortSignal => new AbortController().signal;
const start = Date.UTC(2026, 10, 21);

/** A fake build with these options, on a clock that is moved by hand. */
async function build(options: unknown) {
  let ahead = 0;
  const now = (): number => start + ahead;
  const provider = fakeProvider({ now });
  const { ref } = await provider.create(requestFor({ plan: planFake, provider, now }, options), never());
  const read = async (of: BuildRef = ref, from: LogPlace = { bytes: 0, at: null }, nth = 0, most = 1 << 20) => {
    const step = (await provider.steps(of, never()))[nth];
    if (!step) throw new Error('the build has no such step');
    const lines: LogLine[] = [];
    let place = from;
    for await (const part of provider.log(of, { step, from, ended: step.state === 'ended', most }, never())) {
      lines.push(...part.lines);
      place = part.place;
    }
    return { lines, place };
  };
  return { ref, provider, read, to: (ms: number) => void (ahead = ms) };
}

test('a fake build writes its lines one after the other while it runs, from its start on', async () => {
  const { read, to } = await build({ delay: '3s', logs: ['a', 'b', 'c'] });
  const at = [3000, 4000, 5000].map((ms) => start + ms);
  const all = ['a', 'b', 'c'].map((text, n) => ({ text, at: at[n] }));
  const seen: number[] = [];
  let place: LogPlace = { bytes: 0, at: null };
  const followed: LogLine[] = [];
  for (let ms = 0; ms <= 7000; ms += 500) {
    to(ms);
    const next = await read(undefined, place);
    followed.push(...next.lines);
    place = next.place;
    seen.push(followed.length);
  }
  expect(seen).toEqual([0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 3]);
  expect(followed).toEqual(all);
  expect((await read()).lines).toEqual(all);
});

test('a fake build that was stopped writes nothing more, and one that never ran nothing at all', async () => {
  const { ref, read, to, provider } = await build({ delay: '3s', logs: ['a', 'b', 'c'] });
  to(1000);
  const early = await provider.cancel(ref, never());
  to(4500);
  const late = await provider.cancel(ref, never());
  to(60_000);
  expect((await read(early)).lines).toEqual([]);
  expect((await read(late)).lines.map(({ text }) => text)).toEqual(['a', 'b']);
  expect(await provider.steps(late, never())).toMatchObject([{ state: 'ended', endedAt: start + 4500 }]);
});

test('a fake build without an end goes on writing until it has said all', async () => {
  const { read, to } = await build({ states: [{ state: 'running', after: '1s' }], logs: ['a', 'b', 'c'] });
  to(1250);
  expect((await read()).lines.map(({ text }) => text)).toEqual(['a', 'b']);
  to(60_000);
  expect((await read()).lines).toHaveLength(3);
});

test('what a fake build writes is cleaned, and a text of several lines is several', async () => {
  const { read, to } = await build({ logs: ['\x1b[31mred\x1b[0m\x1b[2J', 'one\r\ntwo', ''] });
  to(60_000);
  expect((await read()).lines.map(({ text }) => text)).toEqual(['\x1b[31mred\x1b[0m', 'one', 'two', '']);
});

test('each run of a fake build has its own step and its own times', async () => {
  const { ref, read, to, provider } = await build({ delay: '3s', result: ['failed', 'success'], logs: ['a'] });
  to(6000);
  const again = await provider.retry(ref, never());
  to(20_000);
  expect(await provider.steps(again, never())).toEqual([
    { id: 'fake', name: 'fake', state: 'ended', startedAt: start + 3000, endedAt: start + 6000 },
    { id: 'fake/1', name: 'fake (retry 1)', state: 'ended', startedAt: start + 9000, endedAt: start + 12_000 },
  ]);
  expect((await read(again)).lines).toEqual([{ text: 'a', at: start + 3000 }]);
  expect((await read(again, undefined, 1)).lines).toEqual([{ text: 'a', at: start + 9000 }]);
});
