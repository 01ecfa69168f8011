import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeFinding, type Finding } from '../../fuzz/finding.ts';
import { liveTargets } from '../../fuzz/live/index.ts';
import { runLivePart } from '../../fuzz/live/run.ts';
import { type LiveSpindle, startSpindle } from '../../fuzz/live/spindle.ts';
import { emptyDatabase, type FreshDatabase } from '../support/database.ts';

let database: FreshDatabase;
let spindle: LiveSpindle;

beforeAll(async () => {
  database = await emptyDatabase({ max: 1 });
  spindle = await startSpindle(database.url);
});

afterAll(async () => {
  await spindle.close();
  await database.drop();
});

test.each(liveTargets.map((target) => [target.name, target.about, target] as const))(
  'a spindle that runs takes no harm from %s (%s), and takes what is right afterwards',
  async (_name, _about, target) => {
    const found: Finding[] = [];
    let runs = 0;
    await runLivePart({
      spindle,
      target,
      seed: 20_261_121,
      part: 0,
      runs: 80,
      known: new Set(),
      onFinding: (finding) => void found.push(finding),
      onRuns: (count) => void (runs += count),
    });
    expect(found.map((finding) => describeFinding(finding, '(the input above)'))).toEqual([]);
    expect(runs).toBe(80);
    expect(spindle.death()).toBeUndefined();
  },
  60_000,
);
