import type { TestContext } from 'vitest';
import { expect, test } from 'vitest';
import { followLog, logUrl, readLog } from '../../sim/appview/log-reader.ts';
import { answer } from '../../sim/buildkite/index.ts';
import { buildOf, isBound, isParked, ownSpindle } from '../support/pipelines.ts';
import { buildkiteFile, type Pushed, type Spindle, type SpindleOptions } from '../support/spindle.ts';
import { until } from '../support/until.ts';

const oneFile = { 'ci.yml': buildkiteFile() };

const urlOf = (whorl: Spindle, { rkey }: Pushed): string => logUrl(whorl.url, whorl.knot.host, rkey, 'ci.yml');

const linesOf = ({ blocks }: { blocks: { lines: string[] }[] }): string[] => blocks.flatMap(({ lines }) => lines);

/** A build that runs, with one job whose log the test writes. */
async function running(context: TestContext, options: SpindleOptions = {}) {
  const whorl = await ownSpindle(context, options);
  const pushed = whorl.push(oneFile);
  const { id, jobs } = await buildOf(whorl, pushed);
  await isBound(pushed);
  whorl.ci.advance(id, 'running');
  const job = jobs.find(({ type }) => type === 'script')?.id ?? '';
  return { whorl, pushed, id, job, write: (text: string) => whorl.ci.appendLog(id, job, text) };
}

const activities = async ({ handle }: Pushed, name: RegExp): Promise<number> => {
  const { events } = await handle.fetchHistory();
  return (events ?? []).filter(({ activityTaskScheduledEventAttributes: it }) => name.test(it?.activityId ?? ''))
    .length;
};

test.concurrent('a log is followed while somebody reads it, and the same later', async (context) => {
  const { whorl, pushed, id, write } = await running(context);
  const reader = followLog(urlOf(whorl, pushed));
  write('--- compile\r\nfirst line\r\n');
  await reader.wait((view) => linesOf(view).includes('first line'));
  expect(whorl.ci.build(id).state).toBe('running');
  write('second line\r\n');
  await reader.wait((view) => linesOf(view).includes('second line'));

  whorl.ci.finish(id, 'passed');
  const live = await reader.ended();
  expect(live).toMatchObject({ closed: { code: 1000, reason: 'log stream complete' }, lost: [], problems: [] });
  await pushed.ended();
  const later = await readLog(urlOf(whorl, pushed));
  expect(later.frames).toEqual(live.frames);
  expect(linesOf(later).filter((line) => line.endsWith(' line'))).toEqual(['first line', 'second line']);
  expect(await activities(pushed, /^(logs|follow):/)).toBe(2);
});

test.concurrent('a log that cannot be had delays no status, and is here when it can be', async (context) => {
  const { whorl, pushed, id, write } = await running(context);
  const trouble = whorl.ci.onRequest({ route: 'log' }, answer(500), 'always');
  write('a line\r\n');
  whorl.ci.finish(id, 'failed');
  await pushed.shows('ci.yml', 'failed');
  await until('the log waits in the Temporal UI', async () => {
    const { raw } = await pushed.handle.describe();
    return raw.pendingActivities?.find((one) => one.activityId === 'logs:ci.yml' && one.lastFailure);
  });
  const reader = followLog(urlOf(whorl, pushed));
  trouble.remove();
  expect(linesOf(await reader.ended())).toContain('a line');
  await pushed.ended();
});

test.concurrent('a log that nobody may read says so, and the pipeline ends', async (context) => {
  const { whorl, pushed, id } = await running(context);
  whorl.ci.onRequest({ route: 'log' }, answer(403), 'always');
  whorl.ci.finish(id, 'passed');
  await pushed.shows('ci.yml', 'success');
  await pushed.ended();
  const view = await readLog(urlOf(whorl, pushed));
  expect(view).toMatchObject({ closed: { code: 1000 }, lost: [], problems: [] });
  expect(linesOf(view).join('\n')).toMatch(/could not be fetched: .*read_build_logs/);
});

test.concurrent('a parked job shows its reason, and then the log of what ran after all', async (context) => {
  const whorl = await ownSpindle(context);
  const trouble = whorl.ci.onRequest({ route: 'create' }, answer(401), 'always');
  const pushed = whorl.push(oneFile);
  await isParked(pushed);
  const reader = followLog(urlOf(whorl, pushed));
  const parked = await reader.wait((view) => linesOf(view).some((line) => line.includes('API token')));
  expect(parked.closed).toBeUndefined();

  trouble.remove();
  await whorl.command('retry', pushed.id);
  const { id, jobs } = await buildOf(whorl, pushed);
  whorl.ci.advance(id, 'running');
  whorl.ci.appendLog(id, jobs[0]?.id ?? '', 'it ran\r\n');
  whorl.ci.finish(id, 'passed');
  const view = await reader.ended();
  expect(linesOf(view)[0]).toMatch(/^Waiting for the operator/);
  expect(linesOf(view)).toContain('it ran');
  expect(new Set(view.blocks.map(({ id: step }) => step)).size).toBe(view.blocks.length);
});

test.concurrent('what was refused, or cancelled before there was a build, has one step with the reason', async (context) => {
  const whorl = await ownSpindle(context);
  const refused = whorl.push({ 'ci.yml': 'engine: tack\ntack:\n  buildkite: 7\n' });
  await refused.shows('ci.yml', 'failed');
  const view = await readLog(urlOf(whorl, refused));
  expect(view).toMatchObject({ closed: { code: 1000 }, blocks: [{ lines: [expect.stringMatching(/buildkite/)] }] });

  whorl.ci.onRequest({ route: 'create' }, answer(503), 'always');
  const cancelled = whorl.push(oneFile);
  await cancelled.shows('ci.yml', 'pending');
  await whorl.command('cancel', cancelled.id);
  await cancelled.shows('ci.yml', 'cancelled');
  const stopped = await readLog(urlOf(whorl, cancelled));
  expect(stopped).toMatchObject({ closed: { code: 1000 }, blocks: [{ lines: ['Cancelled by tester.'] }] });
});

test.concurrent('a rerun has a log of its own, and both stay', async (context) => {
  const { whorl, pushed, id, write } = await running(context);
  write('of the first\r\n');
  whorl.ci.finish(id, 'failed');
  await pushed.shows('ci.yml', 'failed');
  await pushed.ended();
  await whorl.command('rerun', pushed.id, 'ci.yml');
  const second = await buildOf(whorl, pushed, 'ci.yml', 2);
  whorl.ci.advance(second.id, 'running');
  whorl.ci.appendLog(second.id, second.jobs[0]?.id ?? '', 'of the second\r\n');
  whorl.ci.finish(second.id, 'passed');
  await pushed.shows('ci.yml', 'success');
  expect(linesOf(await readLog(urlOf(whorl, pushed)))).toContain('of the second');
  const attempts = await whorl.sql`
    select attempt from logs where pipeline = ${pushed.id} and complete >= 0 and entries > 0 order by attempt`;
  expect(attempts.map(({ attempt }) => attempt)).toEqual([1, 2]);
});

test.concurrent('a job that is retried inside the CI goes on in its log', async (context) => {
  const { whorl, pushed, id, write } = await running(context, {
    appview: { reopenings: true },
    durations: { silence: 60_000 },
  });
  write('the first try\r\n');
  whorl.ci.finish(id, 'failed');
  await pushed.shows('ci.yml', 'failed');
  await pushed.ended();
  const before = await readLog(urlOf(whorl, pushed));

  const again = whorl.ci.retryJob(id);
  whorl.ci.advance(id, 'running');
  await pushed.shows('ci.yml', 'running');
  const reader = followLog(urlOf(whorl, pushed));
  whorl.ci.appendLog(id, again.id, 'the second try\r\n');
  await reader.wait((view) => linesOf(view).includes('the second try'));
  whorl.ci.finish(id, 'passed');
  const after = await reader.ended();
  expect(after.frames.slice(0, before.frames.length)).toEqual(before.frames);
  expect(after).toMatchObject({ lost: [], problems: [], closed: { code: 1000 } });
});

test.concurrent('a step that ends is brought home before its build ends, where the organisation tells of steps', async (context) => {
  const { whorl, pushed, id, job, write } = await running(context, {
    events: ['build.finished', 'job.started', 'job.finished'],
  });
  // only a job has told that it runs
  await pushed.shows('ci.yml', 'running');
  write('a line of the step\r\n');
  whorl.ci.moveJob(id, job, 'passed');
  await until('the step is here', async () => {
    const rows = await whorl.sql`select from log_steps where pipeline = ${pushed.id} and step = ${job} and done`;
    return rows.length === 1;
  });
  whorl.ci.finish(id, 'passed');
  await pushed.shows('ci.yml', 'success');
  expect(linesOf(await readLog(urlOf(whorl, pushed)))).toContain('a line of the step');
});
