import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Face, metricsPart, plainFace } from '../../src/roles/faces.ts';
import { runtimeMetrics } from '../../src/roles/runtime.ts';
import { buildkiteFile, type Spindle, spindle } from '../support/spindle.ts';
import { scrape } from '../support/scrape.ts';
import { buildOf } from '../support/pipelines.ts';

let whole: Spindle;
let face: Face;

beforeAll(async () => {
  whole = await spindle({ shared: true });
  face = await plainFace(whole.deps, { host: '127.0.0.1', port: 0 }, [metricsPart(whole.deps, 'up', runtimeMetrics)]);
});
afterAll(async () => {
  await face.close();
  await whole.close();
});

test('a push to its end is counted at each border that it passes', async () => {
  const pushed = whole.push({ 'ci.yml': buildkiteFile() });
  const { id } = await buildOf(whole, pushed);
  whole.ci.advance(id, 'running');
  await pushed.shows('ci.yml', 'running');
  whole.ci.advance(id, 'passed');
  await pushed.shows('ci.yml', 'success');
  await pushed.ended();
  const seen = await scrape(face.url);
  if (process.env['KEEP']) writeFileSync(process.env['KEEP'], seen.text);
  expect(seen.families.size).toBeGreaterThan(50);
});
