import { beforeAll, describe, expect, test, vi } from 'vitest';
import { answer, lose, loseAnswer, rateLimited, refuse } from '../../sim/buildkite/index.ts';
import { notices } from '../../src/workflows/messages.ts';
import {
  boundTo,
  buildsOf,
  createOf,
  endsRight,
  historyOf,
  newSha,
  postsOf,
  pushHeld,
  scheduledOf,
  send,
  theBuild,
  webhookOf,
} from '../support/ci.ts';
import { buildkiteFile, type Pushed, type Spindle, spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 60_000 });

const files = { 'ci.yml': buildkiteFile() };

/** Runs the bound build to its end, and waits until everybody knows. */
async function passes(whorl: Spindle, pushed: Pushed): Promise<string> {
  const id = await boundTo(whorl, pushed);
  whorl.ci.advance(id, 'running');
  whorl.ci.finish(id, 'passed');
  await endsRight(whorl, pushed, 'success');
  return id;
}

const cancelsOf = ({ ci }: Spindle, build?: string) =>
  ci.requests.filter((request) => request.route === 'cancel' && (build === undefined || request.build?.id === build));

describe('while the lists of the CI are up to date', () => {
  let whorl: Spindle;
  beforeAll(async () => {
    whorl = await spindle({ shared: true, durations: { createTimeout: 2_000 } });
    return () => whorl.close();
  });

  test.concurrent.for([
    { what: 'the socket is destroyed after the build was made', fault: loseAnswer() },
    { what: 'the answer is 500 although the build was made', fault: answer(500, { accepted: true }) },
    { what: 'the answer is 504 although the build was made', fault: answer(504, { accepted: true }) },
  ])('$what: it is found, and no other is made', async ({ fault }) => {
    const sha = newSha();
    whorl.ci.onRequest(createOf(sha), fault);
    const pushed = whorl.push(files, { newSha: sha });
    await passes(whorl, pushed);
    expect(buildsOf(whorl, pushed)).toHaveLength(1);
    expect(postsOf(whorl, pushed)).toHaveLength(1);
    expect(cancelsOf(whorl)).toEqual([]);
  });

  test.concurrent('the answer comes after the time-out of the activity: one build, and it stays', async () => {
    const { pushed, build, answer: late } = await pushHeld(whorl, files);
    expect(await boundTo(whorl, pushed)).toBe(build);
    late();
    whorl.ci.finish(build, 'passed');
    expect(await send(whorl, webhookOf(whorl, build, 'build.finished'))).toBe(200);
    await endsRight(whorl, pushed, 'success');
    expect(postsOf(whorl, pushed)).toHaveLength(1);
    expect(buildsOf(whorl, pushed)).toHaveLength(1);
  });

  test.concurrent.for([
    { what: 'the answer is 500 and there is no build', fault: answer(500) },
    { what: 'the socket is destroyed before the build was made', fault: refuse() },
  ])('$what: it is made once, after the searches', async ({ fault }) => {
    const sha = newSha();
    whorl.ci.onRequest(createOf(sha), fault);
    const pushed = whorl.push(files, { newSha: sha });
    await passes(whorl, pushed);
    expect(postsOf(whorl, pushed)).toHaveLength(2);
    expect(buildsOf(whorl, pushed)).toHaveLength(1);
    expect(cancelsOf(whorl)).toEqual([]);
  });

  test('that ends while it is being adopted has ended, whatever it was when it was looked at', async () => {
    const pushed = whorl.push(files);
    const { id } = await theBuild(whorl, pushed);
    await boundTo(whorl, pushed);
    whorl.ci.advance(id, 'running');
    whorl.ci.finish(id, 'failed');
    await pushed.shows('ci.yml', 'failed');
    const held = whorl.ci.hold({ route: 'get' }, 'answer');
    const again = whorl.ci.rebuild(id);
    await held.arrived;
    whorl.ci.finish(again.id, 'passed');
    await until(
      'the workflow was told',
      async () =>
        (
          await whorl.sql`select from deliveries where build = ${again.id} and event = 'build.finished' and state = 'done'`
        ).length > 0,
    );
    held.release();
    await pushed.shows('ci.yml', 'success');
    await pushed.ended();
    expect(await whorl.sql`select from statuses where pipeline = ${pushed.id} and epoch > 0`).toHaveLength(0);
  });
});

describe('while the lists of the CI lag', () => {
  const lagging = (looks: number[], sweeps: number[]) =>
    spindle({ buildkite: { indexLag: 'manual' }, durations: { looks, sweeps } });

  test('a build that a webhook told of is found all the same, and no other is made', async () => {
    const whorl = await lagging([100, 100], [100]);
    whorl.ci.onRequest({ route: 'create' }, loseAnswer());
    const pushed = whorl.push(files);
    const { id } = await theBuild(whorl, pushed);
    expect(await boundTo(whorl, pushed)).toBe(id);
    whorl.ci.finish(id, 'passed');
    await pushed.shows('ci.yml', 'success');
    await pushed.ended();
    expect(postsOf(whorl, pushed)).toHaveLength(1);
  });

  test('a build whose answer was lost is searched for again, and no other is made', async () => {
    const whorl = await lagging([100, 20_000], [100]);
    whorl.ci.onWebhook({ where: ({ event }) => event === 'build.scheduled' }, lose(), 'always');
    whorl.ci.onRequest({ route: 'create' }, loseAnswer());
    const pushed = whorl.push(files);
    const { id } = await theBuild(whorl, pushed);
    await until('a search in vain', async () => (await whorl.sql`select from builds where looks > 0`).length === 1);
    whorl.ci.reindex();
    // The next look is far; a word of the build makes the workflow look at once.
    whorl.ci.advance(id, 'running');
    expect(await boundTo(whorl, pushed)).toBe(id);
    whorl.ci.finish(id, 'passed');
    await pushed.shows('ci.yml', 'success');
    expect(postsOf(whorl, pushed)).toHaveLength(1);
    expect(whorl.appview.problems).toEqual([]);
    await pushed.handle.terminate();
  });

  test.for([
    { what: 'is cancelled', ended: false },
    { what: 'that has failed already is left alone', ended: true },
  ])('a build that surfaces after another was made $what, and the other one counts', async ({ ended }) => {
    const whorl = await lagging([100, 100], [200, 3_000]);
    let silent = true;
    whorl.ci.onWebhook({ where: () => silent }, lose(), 'always');
    whorl.ci.onRequest({ route: 'create' }, loseAnswer());
    const pushed = whorl.push(files);
    const first = await theBuild(whorl, pushed);
    whorl.ci.advance(first.id, 'running');
    const bound = await boundTo(whorl, pushed);
    expect(bound).not.toBe(first.id);
    silent = false;
    if (ended) whorl.ci.finish(first.id, 'failed');
    whorl.ci.reindex();
    if (!ended) {
      await until('the extra build is cancelled', () => whorl.ci.build(first.id).state === 'canceling');
      whorl.ci.finish(first.id, 'canceled');
    }
    expect(await passes(whorl, pushed)).toBe(bound);
    expect(pushed.seen('ci.yml')).not.toContain('cancelled');
    expect(postsOf(whorl, pushed)).toHaveLength(2);
    expect(buildsOf(whorl, pushed)).toHaveLength(2);
    expect(cancelsOf(whorl, first.id)).toHaveLength(ended ? 0 : 1);
    expect(cancelsOf(whorl, bound)).toEqual([]);
  });
});

test('a webhook of the build whose answer was lost wakes the search before the next attempt of create', async () => {
  const whorl = await spindle({ durations: { looks: [30_000], searchGrace: 100 } });
  whorl.ci.onRequest({ route: 'create' }, loseAnswer());
  const pushed = whorl.push(files);
  const { id } = await theBuild(whorl, pushed);
  expect(await boundTo(whorl, pushed)).toBe(id);
  whorl.ci.finish(id, 'passed');
  await pushed.shows('ci.yml', 'success');
  const { raw } = await pushed.handle.describe();
  const create = raw.pendingActivities?.find(({ activityId }) => activityId === 'create:ci.yml');
  expect(create?.attempt).toBe(2);
  await pushed.handle.terminate();
});

test('a 429 is obeyed: the create comes back at the time that the CI gave, and makes one build', async () => {
  const whorl = await spindle();
  whorl.ci.onRequest({ route: 'create' }, rateLimited(2));
  const pushed = whorl.push(files);
  await passes(whorl, pushed);
  const [refused, made] = postsOf(whorl, pushed);
  expect((made?.at ?? 0) - (refused?.at ?? 0)).toBeGreaterThanOrEqual(1_950);
  expect(postsOf(whorl, pushed)).toHaveLength(2);
  expect(buildsOf(whorl, pushed)).toHaveLength(1);
  expect(scheduledOf(await historyOf(pushed), /^create:/)).toBe(1);
});

describe('a person’s rebuild of our build', () => {
  let whorl: Spindle;
  beforeAll(async () => {
    whorl = await spindle({ shared: true, appview: { reopenings: true } });
    return () => whorl.close();
  });

  test.concurrent.for([
    { when: 'while it runs', before: ['running'], ended: false },
    { when: 'when it has failed', before: ['running', 'failed'], ended: false },
    { when: 'when the pipeline has ended', before: ['running', 'failed'], ended: true },
  ])('$when becomes attempt 2, whose statuses follow, and nothing is cancelled', async ({ before, ended }) => {
    const pushed = whorl.push(files);
    const { id } = await theBuild(whorl, pushed);
    await boundTo(whorl, pushed);
    for (const state of before) {
      if (state === 'failed') whorl.ci.finish(id, 'failed');
      else whorl.ci.advance(id, 'running');
      await pushed.shows('ci.yml', state);
    }
    if (ended) await pushed.ended();

    const again = whorl.ci.rebuild(id);
    expect(await boundTo(whorl, pushed, 2)).toBe(again.id);
    await pushed.shows('ci.yml', 'pending');
    whorl.ci.advance(again.id, 'running');
    await pushed.shows('ci.yml', 'running');
    if (before.length === 1) whorl.ci.finish(id, 'failed');
    whorl.ci.finish(again.id, 'passed');
    await pushed.shows('ci.yml', 'success');
    await pushed.ended();

    expect(pushed.seen('ci.yml').slice(-3)).toEqual(['pending', 'running', 'success']);
    expect(buildsOf(whorl, pushed).map(({ state }) => state)).toEqual(['failed', 'passed']);
    expect(cancelsOf(whorl)).toEqual([]);
    // A new attempt begins with pending, also when the one before it was running.
    const down = before.length === 1 ? [expect.stringContaining('goes down from running to pending')] : [];
    expect(whorl.appview.problems.filter((problem) => problem.includes(pushed.rkey))).toEqual(down);
  });

  test('that is told before the workflow knows our build becomes attempt 2 as soon as it does', async () => {
    const held = whorl.ci.hold({ route: 'create' });
    const pushed = whorl.push(files);
    const { build } = await held.arrived;
    if (!build) throw new Error('the create made no build');
    whorl.ci.advance(build.id, 'running');
    whorl.ci.finish(build.id, 'failed');
    const again = whorl.ci.rebuild(build.id);
    const ref = { id: again.id, number: again.number, url: null, data: { org: again.org, pipeline: again.pipeline } };
    // As dispatch does when the database has our build, and the create's answer was lost on its way to the workflow.
    await pushed.handle.signal(notices, [
      {
        job: 'ci.yml',
        seen: { build: again.id, status: 'pending', at: 0 },
        rebuild: { ref, rebuiltFrom: build.id },
      },
    ]);
    held.release();
    expect(await boundTo(whorl, pushed, 2)).toBe(again.id);
    whorl.ci.finish(again.id, 'passed');
    await pushed.shows('ci.yml', 'success');
    await pushed.ended();
    expect(cancelsOf(whorl)).toEqual([]);
  });
});
