import { Command } from 'commander';
import pino from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { addCommands, run } from '../../src/cli/index.ts';
import { keepRefused, listRefused, refusedFrames } from '../../src/store/refused.ts';
import { openDatabase } from '../../src/store/db.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';

const silent = pino({ level: 'silent' });
const bytes = (text: string): Buffer => Buffer.from(text);
const frame = (source: string, text: string, reason = 'not JSON') => ({
  source,
  reason,
  bytes: bytes(text),
  receivedAt: new Date(),
});

let db: FreshDatabase;
beforeEach(async () => void (db = await freshDatabase()));
afterEach(() => db.drop());

const kept = async (source?: string): Promise<string[]> =>
  (await listRefused(db.sql, source)).map((one) => Buffer.from(one.bytes).toString());

async function whorl(...args: string[]) {
  const out: string[] = [];
  const print = (text: string): void => void out.push(text);
  const shell = { env: { WHORL_DATABASE_URL: db.url }, print, complain: print };
  const code = await run(addCommands(new Command('whorl'), shell), args, shell);
  return { code, out: out.join('\n') };
}

test('the last hundred of each source stay, in their order, each once', async () => {
  const numbers = (from: number, to: number): string[] =>
    Array.from({ length: to - from }, (_, i) => `frame ${from + i}`);
  await keepRefused(
    db.sql,
    numbers(0, 60).map((text) => frame('jetstream', text)),
  );
  await keepRefused(db.sql, [frame('knot/a.example', 'other'), frame('knot/a.example', 'other')]);
  await keepRefused(
    db.sql,
    [...numbers(40, 100), ...numbers(100, 130)].map((text) => frame('jetstream', text)),
  );
  expect(await kept('jetstream')).toEqual(numbers(30, 130));
  expect(await kept('knot/a.example')).toEqual(['other']);
  expect(await kept()).toHaveLength(101);
});

test('a flood of frames is kept in few writes, and what was first in memory is there at the end', async () => {
  const refused = refusedFrames({ sql: db.sql, log: silent, restMs: 20 });
  for (let i = 0; i < 10_000; i++) refused.add('jetstream', bytes(`frame ${i}`), 'not JSON');
  await until('the last one', async () => (await kept()).at(-1) === 'frame 9999');
  expect(await kept()).toHaveLength(100);
  refused.add('jetstream', bytes('the last one'), 'not JSON');
  await refused.close();
  expect((await kept()).at(-1)).toBe('the last one');
});

test('a frame is cut to a readable size, and a reason is text that the database takes', async () => {
  const refused = refusedFrames({ sql: db.sql, log: silent });
  refused.add('jetstream', Buffer.alloc(5_000_000, 'x'), `it says \0 and ${'\ud800'} ${'y'.repeat(5_000)}`);
  refused.add('jetstream', Buffer.from([0xff, 0x00, 0xfe]), 'not UTF-8');
  await refused.close();
  const [large, binary] = await listRefused(db.sql);
  expect(large?.bytes.length).toBe(64 * 1024);
  expect(large?.reason).toMatch(/^it says \ufffd and \ufffd y+$/);
  expect(Buffer.from(binary?.bytes ?? [])).toEqual(Buffer.from([0xff, 0x00, 0xfe]));
});

test('one line a minute says what was stepped over, whatever comes', async () => {
  const lines: unknown[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const refused = refusedFrames({ sql: db.sql, log });
  const about = { did: 'did:plc:a', collection: 'sh.tangled.repo', operation: 'create', rkey: '3n2rsrepo2222' };
  for (let i = 0; i < 50; i++) refused.add('jetstream', bytes(`${i}`), `reason ${i}`, about);
  refused.add('knot/a.example', bytes('x'), 'not JSON');
  await refused.close();
  expect(lines).toMatchObject([
    { level: 40, source: 'jetstream', reason: 'reason 0', ...about },
    { level: 40, source: 'knot/a.example', reason: 'not JSON' },
  ]);
});

test('a database that is away neither fails nor holds up whoever steps over', async () => {
  const away = openDatabase('postgres://nobody@127.0.0.1:1/none', { connectTimeoutMs: 100 });
  const refused = refusedFrames({ sql: away, log: silent, restMs: 1 });
  for (let i = 0; i < 1_000; i++) refused.add('jetstream', Buffer.alloc(100_000, `${i}`), 'not JSON');
  await refused.close();
  await away.end({ timeout: 0 });
});

test('whorl frames shows them safe for a terminal, and as JSON whole', async () => {
  expect(await whorl('frames')).toEqual({ code: 0, out: 'Nothing was stepped over.' });
  const evil = '{"did":"\u001b[2J\u202egnp.exe"\n\u0007}';
  await keepRefused(db.sql, [
    frame('jetstream', evil, 'its time_us is not a time'),
    frame('jetstream', 'x'.repeat(5_000)),
    { ...frame('knot/a.example', ''), bytes: Buffer.from([0xff, 0x41]) },
  ]);
  const { code, out } = await whorl('frames');
  expect(code).toBe(0);
  expect(out).not.toMatch(/[^\P{Cc}\n]|\u202e/u);
  expect(out.split('\n')).toHaveLength(6);
  expect(out).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ {2}jetstream: its time_us is not a time\n {2}\{"did":/);
  expect(Math.max(...out.split('\n').map((line) => line.length))).toBeLessThan(500);

  const json = (await whorl('frames', 'jetstream', '--json')).out;
  expect(json).not.toMatch(/[^\P{Cc}\n]|\u202e/u);
  expect(JSON.parse(json)).toMatchObject([{ source: 'jetstream', text: evil }, { text: 'x'.repeat(5_000) }]);
  const knot: unknown = JSON.parse((await whorl('frames', 'knot/a.example', '--json')).out);
  expect(knot).toMatchObject([{ text: '\ufffdA', bytes: '/0E=' }]);
});
