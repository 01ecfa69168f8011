import { describe, expect, test } from 'vitest';
import { judge } from '../../faults/check/index.ts';
import { nothing, good, broken, said, verdict } from '../support/small-evidence.ts';

describe('what was not looked at is not kept', () => {
  test('a pipeline that went well is kept, by all eight', () => {
    expect(said(good)).toBe('');
    expect(broken(good)).toEqual([]);
  });

  test('with a push and no evidence nothing is kept', () => {
    const { pushes } = good;
    expect(broken({ ...nothing, pushes })).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    for (const { checked, counterexamples } of judge({ ...nothing, pushes }).slice(2))
      expect([checked, counterexamples.at(-1)]).toEqual([0, expect.stringContaining('not whole')]);
  });

  test('without a push there is nothing to see, and that is right', () => {
    expect(broken(nothing)).toEqual([]);
  });

  test('a scan without a secret, or that saw no history, is none', () => {
    expect(broken({ ...good, scan: { ...good.scan, secrets: 0 } })).toEqual([5]);
    expect(broken({ ...good, scan: { secrets: 1, bytes: { 'table jobs': 10 } } })).toEqual([5]);
    const { bytes } = good.scan;
    expect(broken({ ...good, scan: { secrets: 1, bytes: { ...bytes, 'log of worker-1': 0 } } })).toEqual([5]);
  });

  test('of many counterexamples twenty are told, and all are counted', () => {
    const sightings = Array.from({ length: 50 }, (_, n) => ({ secret: 'it', where: `place ${n}`, around: '' }));
    const { counterexamples, found } = verdict({ ...good, sightings }, 5);
    expect(counterexamples).toHaveLength(21);
    expect(counterexamples.at(-1)).toBe('… and 30 more');
    expect(found).toEqual({ secret: 50 });
  });
});
