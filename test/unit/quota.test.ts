import fc from 'fast-check';
import { expect, test } from 'vitest';
import { byKind, quotas } from '../../src/ingest/quota.ts';

const counts = fc.dictionary(fc.constantFrom('backfill', 'dispatch', 'jetstream', 'knot'), fc.nat(40));
const sourcesOf = (kinds: Record<string, number>): string[] =>
  Object.entries(kinds).flatMap(([kind, count]) => Array.from({ length: count }, (_, n) => `${kind}/${n}`));
const spread = (numbers: number[]): number => Math.max(...numbers) - Math.min(...numbers);
const sum = (numbers: number[]): number => numbers.reduce((total, number) => total + number, 0);

test('the quotas of all processes add up to the sources, even of each kind and of all together', () => {
  fc.assert(
    fc.property(counts, fc.integer({ min: 1, max: 12 }), (given, members) => {
      const kinds = byKind(sourcesOf(given));
      const all = Array.from({ length: members }, (_, rank) => quotas(kinds, rank, members));
      for (const [kind, { length }] of kinds) {
        const ofKind = all.map((mine) => mine.get(kind) ?? 0);
        expect(sum(ofKind)).toBe(length);
        expect(spread(ofKind)).toBeLessThanOrEqual(1);
      }
      expect(spread(all.map((mine) => sum([...mine.values()])))).toBeLessThanOrEqual(1);
    }),
  );
});

test('a knot more or less moves nothing of another kind', () => {
  const few = byKind(['dispatch/0', 'dispatch/1', 'dispatch/2', 'dispatch/3', 'jetstream', 'backfill', 'knot/a']);
  const more = byKind([...[...few.values()].flat(), 'knot/b']);
  for (const rank of [0, 1, 2]) {
    const [before, after] = [quotas(few, rank, 3), quotas(more, rank, 3)];
    for (const kind of ['backfill', 'dispatch', 'jetstream']) expect(after.get(kind)).toBe(before.get(kind));
  }
});
