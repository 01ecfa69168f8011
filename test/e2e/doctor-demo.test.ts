import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { demoFolder, startWorld, type Stops } from '../../demo/world.ts';
import { type Report, wrong } from '../support/doctor.ts';

const whorl = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** A process of its own, with the environment that the demo's Whorl was started with. */
async function doctor(...args: string[]): Promise<{ code: number; out: string; err: string; report: Report }> {
  const ran = promisify(execFile)(process.execPath, [whorl, 'doctor', '--json', ...args]);
  const { stdout: out, stderr: err } = await ran.catch((error: { stdout: string; stderr: string }) => error);
  return { code: ran.child.exitCode ?? -1, out, err, report: JSON.parse(out) as Report };
}

test('doctor is green on the demo, and ends by itself', { timeout: 120_000 }, async () => {
  const folder = await demoFolder();
  const stops: Stops = [folder.remove];
  onTestFinished(async () => {
    for (const stop of stops.toReversed()) await stop();
  });
  const watch = { request() {}, delivery() {}, frame() {} };
  const signal = AbortSignal.timeout(90_000);
  const world = await startWorld({ ...folder, watch, say() {}, stops, signal, reopenings: false });
  process.env['WHORL_BUILDKITE_ALLOW'] = '*/* -> acme/*';

  const { code, err, report } = await doctor('--url', world.url);
  expect({ code, err, wrong: wrong(report) }).toEqual({ code: 0, err: '', wrong: [] });
  expect(report.checks.filter(({ state }) => state === 'skipped')).toEqual([]);
  expect(report.checks.length).toBeGreaterThan(40);

  // Its name is in no DNS, which on one's own machine is as it should be.
  const byName = await doctor();
  expect({ code: byName.code, wrong: wrong(byName.report) }).toEqual({ code: 0, wrong: ['public: address'] });
});
