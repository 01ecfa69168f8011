import { beforeAll, describe, expect, test, vi } from 'vitest';
import { newSha } from '../support/ci.ts';
import { buildOf, isBound, ownSpindle } from '../support/pipelines.ts';
import { buildkiteFile, type Pushed, type Spindle, spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';
import { files, running, situations } from '../support/why-situations.ts';
import { askWhy, whyBecomes } from '../support/why.ts';

vi.setConfig({ testTimeout: 90_000 });

describe('whorl why', () => {
  let shared: Spindle;
  beforeAll(async () => {
    shared = await spindle({
      shared: true,
      env: { WHORL_BUILDKITE_ALLOW: '*/* → acme/app, */* → acme/made-later' },
      durations: { looks: [100, 200] },
    });
    return () => shared.close();
  });

  test.concurrent.for(situations)('says so when $what', async (situation, context) => {
    const { own, plant, cause, standing, says, todo, times = [], steps = [] } = situation;
    const whorl = own ? await ownSpindle(context, own) : shared;
    const { ask, env } = await plant(whorl);
    const { code, err, why } = await whyBecomes(whorl, ask, cause, env);
    expect(why).toMatchObject({ cause, standing });
    expect(why.sentence).toMatch(says);
    const advice = why.waits.flatMap((one) => one.todo.flatMap(({ text, command }) => [text, command ?? '']));
    if (todo)
      expect(
        advice.some((text) => todo.test(text)),
        advice.join('\n'),
      ).toBe(true);
    for (const time of times) expect(why.waits[0]?.[time], `${time} of the first wait`).not.toBeNull();
    expect(code).toBe(standing === 'needs a person' ? 1 : 0);
    expect(err).toMatch(standing === 'needs a person' ? /^whorl: .*needs a person: / : /^$/);
    inOrder(why.steps, steps);

    const text = await askWhy(whorl, ask, env);
    expect(text.code).toBe(code);
    expect(text.out).toMatch(says);
  });
});

test('what fits several pipelines is answered for each, and what is no name is refused', async () => {
  const whorl = await spindle({ roles: ['ingest', 'server'] });
  const sha = newSha();
  const both = [whorl.push(files, { newSha: sha }), whorl.push(files, { newSha: sha, kind: 'manual' })];
  // Until then nobody is needed: they begin by themselves. From then on it is a worker.
  await until('both are begun', async () => {
    const begun = await whorl.sql`select from triggers where state = 'started'`;
    return begun.length === 2;
  });
  const { out, code } = await askWhy(whorl, [sha, '--json']);
  const { asked, answers } = JSON.parse(out) as { asked: string; answers: { pipeline: string }[] };
  expect(asked).toBe(sha);
  expect(answers.map(({ pipeline }) => pipeline).toSorted()).toEqual(both.map(({ id }) => id).toSorted());
  expect(code).toBe(1);
  for (const words of [['a/b/c/d'], ['a/b', 'c'], ['']])
    expect(await askWhy(whorl, words)).toMatchObject({ code: 2, out: '' });
});

test('what it says to do about a workflow that was terminated makes the pipeline go on', async () => {
  const whorl = await spindle();
  const { pushed, build } = await running(whorl);
  await pushed.handle.terminate('by hand');
  const { why } = await whyBecomes(whorl, [pushed.id], 'workflow-ended');
  expect(why.waits[0]?.todo[0]?.command).toBe(`whorl retry ${pushed.id}`);
  expect(await whorl.command('retry', pushed.id)).toMatchObject({
    state: 'refused',
    result: expect.stringContaining('is not parked') as string,
  });
  whorl.ci.finish(build, 'passed');
  await pushed.shows('ci.yml', 'success');
  const { why: after } = await whyBecomes(whorl, [pushed.id], 'green');
  inOrder(after.steps, [/^opened again as epoch 1: retry by tester/, /^published: success/]);
});

/** What the Temporal UI shows as the current details of a workflow. */
const detailsOf = async ({ handle }: Pushed): Promise<string> =>
  (await handle.query<{ currentDetails?: string }>('__temporal_workflow_metadata')).currentDetails ?? '';

test('the details in the Temporal UI say the same: what each job waits for, since, until, and what to do', async () => {
  const whorl = await spindle();
  const pushed = whorl.push({ ...files, 'late.yml': buildkiteFile('made-later') });
  await isBound(pushed);
  await whyBecomes(whorl, [pushed.id], 'parked');
  const time = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`;
  const says = [
    new RegExp(String.raw`\*\*Needs a person\.\*\* \*\*late\.yml\*\* waits for the operator .*made-later`),
    new RegExp(String.raw`since ${time}; until ${time}, then the job is failed`),
    new RegExp(`\`whorl retry ${pushed.id} late\\.yml\``),
    new RegExp(String.raw`\*\*ci\.yml\*\* waits for the CI to start build .*since ${time}; at ${time} the CI is asked`),
    new RegExp(`\`whorl why ${pushed.id}\``),
  ];
  await until('the details', async () => {
    const details = await detailsOf(pushed);
    return says.every((one) => one.test(details));
  }).catch(async () => {
    for (const one of says) expect(await detailsOf(pushed)).toMatch(one);
  });

  await whorl.command('cancel', pushed.id);
  const { id } = await buildOf(whorl, pushed);
  whorl.ci.advance(id, 'canceled');
  await pushed.ended();
  const after = await detailsOf(pushed);
  expect(after).not.toMatch(/Needs a person|waits for/);
  expect(after).toMatch(/\| late\.yml \| 1 \| cancelled \| — \| Cancelled by tester\. \|/);
});

test('one that has ended waits for nothing in the Temporal UI, also when its log came last', async () => {
  const whorl = await spindle();
  const pushed = whorl.push(files);
  const { id } = await buildOf(whorl, pushed);
  const held = whorl.ci.hold({ route: 'log' }, 'answer');
  whorl.ci.finish(id, 'passed');
  await pushed.shows('ci.yml', 'success');
  await held.arrived;
  await until('only the log is missing', async () => {
    const waits = (await detailsOf(pushed)).match(/waits for .*?(?=[;.]|$)/gm);
    return waits?.length === 1 && waits[0].includes('its log');
  });
  held.release();
  await pushed.ended();
  expect(await detailsOf(pushed)).not.toContain('waits for');
});

/** Each is told, and later than the one before. */
function inOrder(told: { what: string; at: string }[], wanted: RegExp[]): void {
  expect(told.map(({ at }) => at)).toEqual(told.map(({ at }) => at).toSorted());
  let from = 0;
  for (const one of wanted) {
    const found = told.findIndex(({ what }, n) => n >= from && one.test(what));
    expect(
      found,
      `${one.source} after the first ${from} of\n${told.map(({ what }) => what).join('\n')}`,
    ).toBeGreaterThanOrEqual(0);
    from = found + 1;
  }
}
