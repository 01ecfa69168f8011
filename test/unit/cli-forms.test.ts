import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import type { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cut, fitted, wrapped } from '../../src/cli/fit.ts';
import { whorlProgram } from '../../src/cli/program.ts';
import { age, readWhen, span } from '../../src/cli/when.ts';
import { commandLine, plannedPipeline } from '../support/cli.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';

let db: FreshDatabase;
beforeAll(async () => void (db = await freshDatabase()));
afterAll(() => db.drop());
const whorl = commandLine(() => db.url);
const did = 'did:plc:ewvi7nxzyoun6zhxrhs64oiz';

const leaves = (parent: Command, path: string[]): { path: string; command: Command }[] =>
  parent.commands.flatMap((command) => {
    const own = [...path, command.name()];
    return command.commands.length > 0 ? leaves(command, own) : [{ path: own.join(' '), command }];
  });

test('every command that prints something has it as JSON', () => {
  const without = leaves(whorlProgram(), [])
    .filter(({ command }) => !command.options.some(({ long }) => long === '--json'))
    .map(({ path }) => path);
  // Those that run, print a script, or print JSON lines anyway.
  expect(without).toEqual(['up', 'ingest', 'worker', 'server', 'export', 'completion']);
});

describe('what changes something says as JSON what it did', () => {
  const parsed = async (line: string): Promise<Record<string, unknown>> =>
    JSON.parse((await whorl(`${line} --json`)).out) as Record<string, unknown>;

  test('cancel, rerun and retry', async () => {
    const id = await plannedPipeline(db.sql);
    const command = randomUUID();
    expect(await parsed(`cancel ${id} ci.yml --no-wait --by alice --id ${command}`)).toEqual({
      id: command,
      pipeline: id,
      kind: 'cancel',
      job: 'ci.yml',
      by: 'alice',
      state: 'new',
      result: null,
    });
    await db.sql`update commands set state = 'refused', result = 'It has ended.' where id = ${command}`;
    const { code, out, err } = await whorl(`cancel ${id} ci.yml --id ${command} --by alice --json`);
    expect(JSON.parse(out)).toMatchObject({ state: 'refused', result: 'It has ended.' });
    expect([code, err]).toEqual([1, 'whorl: the cancel was refused: It has ended.']);
  });

  test('pin and unpin', async () => {
    const repo = { knot: 'knot.example', did, name: 'site' };
    expect(await parsed(`repos pin knot.example ${did}/site`)).toMatchObject({ ...repo, pinned: true });
    expect(await parsed(`repos unpin knot.example ${did}/site`)).toEqual({
      ...repo,
      pinned: false,
      wasPinned: true,
      served: false,
    });
    const again = await whorl(`repos unpin knot.example ${did}/site --json`);
    expect(JSON.parse(again.out)).toMatchObject({ wasPinned: false });
    expect(again.code).toBe(1);
  });

  test('migrate', async () => {
    const { database, temporal } = await parsed('migrate');
    expect(database).toMatchObject({ applied: [], schema: expect.any(Number) });
    expect(temporal).toBeNull();
    expect(await parsed('migrate --check')).toMatchObject({ database: { applied: [] } });
  });
});

describe('times that people write', () => {
  const now = Date.parse('2026-05-10T12:00:00Z');
  test.each([
    ['90s', '2026-05-10T11:58:30.000Z'],
    ['1h30m', '2026-05-10T10:30:00.000Z'],
    ['2d', '2026-05-08T12:00:00.000Z'],
    ['1w1d', '2026-05-02T12:00:00.000Z'],
    ['0s', '2026-05-10T12:00:00.000Z'],
    ['2026-05-01', '2026-05-01T00:00:00.000Z'],
    ['2026-05-01T12:00:00+02:00', '2026-05-01T10:00:00.000Z'],
  ])('%s', (text, iso) => expect(readWhen(text, now).toISOString()).toBe(iso));

  test.each(['', '5', 'h', '1x', '-1h', '1h 2m', '2026-13-01', '99999999999999999w', 'now'])('%j is refused', (text) =>
    expect(() => readWhen(text, now)).toThrow('is not a time'),
  );

  test.each([
    [0, '0ms'],
    [999, '999ms'],
    [1_500, '1.5s'],
    [59_000, '59s'],
    [119_000, '119s'],
    [120_000, '2m'],
    [86_400_000, '24h'],
    [172_800_000, '2d'],
  ])('%i ms are %s', (ms, text) => expect(span(ms)).toBe(text));

  test('a time that is ahead of our clock is no age', () => expect(age(new Date(now + 5_000), now)).toBe('0s'));
});

describe('tables', () => {
  const cells = fc.array(fc.tuple(fc.string(), fc.string(), fc.lorem({ maxCount: 12 })), {
    minLength: 1,
    maxLength: 5,
  });

  test('fit into any terminal that has room for what is kept, and stay apart', () => {
    fc.assert(
      fc.property(cells, fc.integer({ min: 40, max: 200 }), (rows, width) => {
        for (const line of fitted(rows, { width, keep: [] })) expect(line.length).toBeLessThanOrEqual(width);
      }),
    );
  });

  test('are whole without a terminal, and in the column that is wrapped no word is lost', () => {
    fc.assert(
      fc.property(cells, fc.integer({ min: 20, max: 100 }), (rows, width) => {
        expect(fitted(rows)).toHaveLength(rows.length);
        const text = rows.map(([, , words]) => words).join(' ');
        const short = rows.map(([, , words]) => ['a', 'b', words]);
        const shown = fitted(short, { width, wrap: true }).map((line) => line.replace(/^a {2}b {2}|^ {6}/, ''));
        expect(shown.join(' ').split(/\s+/).join(' ').trim()).toBe(text.trim());
      }),
    );
  });

  test('cut with a sign, and break no word', () => {
    expect(cut('abcdef', 4)).toBe('abc…');
    expect(cut('abcd', 4)).toBe('abcd');
    expect(wrapped('https://ci.example/a/very/long/link is here', 10)).toEqual([
      'https://ci.example/a/very/long/link',
      'is here',
    ]);
  });
});
