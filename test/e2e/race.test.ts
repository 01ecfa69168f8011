import { expect, test } from 'vitest';
import { double, late, lose, reverse } from '../../sim/buildkite/index.ts';
import { buildkiteFile, type Pushed, type Spindle, spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

/** One build, the right end, nothing ever going down, and no rule of a strict appview broken. */
async function rightEnd({ ci, appview }: Spindle, pushed: Pushed, job = 'ci.yml', end = 'success'): Promise<string[]> {
  await pushed.shows(job, end);
  await pushed.ended();
  expect(ci.builds()).toHaveLength(1);
  expect(appview.problems).toEqual([]);
  return pushed.seen(job);
}

const theBuild = ({ ci }: Spindle) => until('a build', () => ci.builds()[0]);

test('webhooks after the answer: pending, running, success', async () => {
  const whorl = await spindle();
  const pushed = whorl.push({ 'ci.yml': buildkiteFile() });
  const { id } = await theBuild(whorl);
  await pushed.shows('ci.yml', 'pending');
  whorl.ci.advance(id, 'running');
  await pushed.shows('ci.yml', 'running');
  whorl.ci.finish(id, 'passed');
  expect(await rightEnd(whorl, pushed)).toEqual(['pending', 'running', 'success']);
});

test('all webhooks before CreateBuild returns are not lost', async () => {
  const whorl = await spindle();
  const held = whorl.ci.hold({ route: 'create' }, 'answer');
  const pushed = whorl.push({ 'ci.yml': buildkiteFile() });
  await held.arrived;
  const { id } = await theBuild(whorl);
  whorl.ci.advance(id, 'running');
  whorl.ci.finish(id, 'passed');
  await until('the webhooks are answered', () => whorl.ci.deliveries.filter(({ event }) => event === 'build.finished').length === 1);
  held.release();
  const seen = await rightEnd(whorl, pushed);
  expect(seen.at(0)).toBe('pending');
  expect(seen.at(-1)).toBe('success');
});
