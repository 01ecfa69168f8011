import { beforeAll, describe, expect, test, vi } from 'vitest';
import type { BuildkiteSim } from '../../sim/buildkite/index.ts';
import { boundTo, buildsOf, byHand, digested, endsRight, pushHeld, send, theBuild, webhookOf } from '../support/ci.ts';
import { buildkiteFile, type Spindle, spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 60_000 });

const files = { 'ci.yml': buildkiteFile() };

interface End {
  what: string;
  end: (ci: BuildkiteSim, id: string) => unknown;
  shown: { status: string; error?: RegExp; exitCode?: number };
}

const ends: End[] = [
  {
    what: 'passes',
    end: (ci, id) => ci.finish(id, 'passed'),
    shown: { status: 'success' },
  },
  {
    what: 'fails with exit status 3',
    end: (ci, id) => ci.finish(id, 'failed', { jobs: { build: { state: 'failed', exitStatus: 3 } } }),
    shown: { status: 'failed', error: /exit status 3/, exitCode: 3 },
  },
  {
    what: 'is cancelled by a person in the CI',
    end: (ci, id) => ci.finish(id, 'canceled', { cancelReason: 'wrong branch' }),
    shown: { status: 'cancelled', error: /wrong branch/ },
  },
  {
    what: 'runs into the time limit of its only job',
    end: (ci, id) => ci.finish(id, 'failed', { jobs: { build: 'timed_out' } }),
    // What the agent reports of a process that it had to stop.
    shown: { status: 'timeout', error: /time limit/, exitCode: -1 },
  },
  {
    what: 'is skipped for a newer one',
    end: (ci, id) => ci.finish(id, 'skipped'),
    shown: { status: 'cancelled', error: /newer build/ },
  },
  {
    what: 'has nothing to run',
    end: (ci, id) => ci.finish(id, 'not_run'),
    shown: { status: 'success' },
  },
];

async function runsToItsEnd(whorl: Spindle, { end, shown }: End): Promise<void> {
  const pushed = whorl.push(files);
  const { id } = await theBuild(whorl, pushed);
  whorl.ci.advance(id, 'running');
  await pushed.shows('ci.yml', 'running');
  end(whorl.ci, id);
  const { history } = await endsRight(whorl, pushed, shown.status);
  const last = history.at(-1);
  if (shown.error) expect(last?.error).toMatch(shown.error);
  else expect(last?.error).toBeUndefined();
  expect(last?.exitCode).toBe(shown.exitCode);
  expect(pushed.seen('ci.yml')).toEqual(['pending', 'running', shown.status]);
  expect(buildsOf(whorl, pushed)).toHaveLength(1);
}

describe('webhooks and the answer of CreateBuild', () => {
  let whorl: Spindle;
  beforeAll(async () => {
    // No search may help here: the facts alone have to fold right.
    whorl = await spindle({ shared: true, durations: { searchGrace: 60_000, createTimeout: 20_000 } });
    return () => whorl.close();
  });

  const events = { scheduled: 'build.scheduled', running: 'build.running', finished: 'build.finished' } as const;
  const deliver = async (build: string, names: string): Promise<void> => {
    for (const name of names.split(' ').filter((word) => word in events)) {
      const event = events[name as keyof typeof events];
      expect(await send(whorl, webhookOf(whorl, build, event))).toBe(200);
    }
    await digested(whorl);
  };

  test.concurrent.for([
    { before: 'nothing', after: 'scheduled running finished' },
    { before: 'nothing', after: 'finished running scheduled' },
    { before: 'nothing', after: 'running scheduled finished' },
    { before: 'nothing', after: 'finished' },
    { before: 'scheduled', after: 'running finished' },
    { before: 'scheduled running', after: 'finished' },
    { before: 'running', after: 'finished scheduled' },
    { before: 'finished', after: 'scheduled running' },
    { before: 'finished', after: 'finished' },
    { before: 'finished', after: 'nothing' },
    { before: 'running', after: 'scheduled finished' },
    { before: 'scheduled running finished', after: 'nothing' },
    { before: 'scheduled running finished', after: 'scheduled running finished' },
    { before: 'finished running scheduled', after: 'nothing' },
    { before: 'running finished scheduled', after: 'nothing' },
    { before: 'scheduled scheduled running running finished finished', after: 'nothing' },
    { before: 'nothing', after: 'scheduled scheduled running running finished finished' },
  ])('$before, then the answer, then $after: one build, and success', async ({ before, after }) => {
    const { pushed, build, answer } = await pushHeld(whorl, files);
    whorl.ci.advance(build, 'running');
    whorl.ci.finish(build, 'passed');
    await deliver(build, before);
    answer();
    await boundTo(whorl, pushed);
    await deliver(build, after);

    await endsRight(whorl, pushed, 'success');
    expect(buildsOf(whorl, pushed)).toHaveLength(1);
  });

  test.concurrent('one at a time: pending, running, success', async () => {
    const pushed = whorl.push(files);
    const { id } = await theBuild(whorl, pushed);
    await pushed.shows('ci.yml', 'pending');
    whorl.ci.advance(id, 'running');
    await pushed.shows('ci.yml', 'running');
    whorl.ci.finish(id, 'passed');
    await endsRight(whorl, pushed, 'success');
    expect(pushed.seen('ci.yml')).toEqual(['pending', 'running', 'success']);
    expect(buildsOf(whorl, pushed)).toHaveLength(1);
  });

  // Nothing tells of a build that was not run: only reading it does, below.
  test.concurrent.for(ends.filter(({ what }) => what !== 'has nothing to run'))(
    'a build that $what: $shown.status',
    async (row) => runsToItsEnd(whorl, row),
  );

  test.concurrent('a build that waits at a block step is running and says so, until somebody unblocks it', async () => {
    const pushed = whorl.push(files);
    const { id } = await theBuild(whorl, pushed);
    whorl.ci.advance(id, 'running');
    await pushed.shows('ci.yml', 'running');
    whorl.ci.advance(id, 'blocked');
    await until('the reason', () =>
      whorl.appview.view(whorl.knot.host, pushed.rkey).jobs['ci.yml']?.error?.includes('block step'),
    );
    whorl.ci.unblock(id);
    whorl.ci.finish(id, 'passed');
    await endsRight(whorl, pushed, 'success');
    expect(buildsOf(whorl, pushed)).toHaveLength(1);
  });
});

describe('without any webhook', () => {
  let whorl: Spindle;
  beforeAll(async () => {
    whorl = await spindle({ shared: true, durations: { silence: 1_000, silenceMax: 1_000 } });
    byHand(whorl);
    return () => whorl.close();
  });

  test.concurrent.for(ends)('reads find that a build $what: $shown.status', async (row) => runsToItsEnd(whorl, row));
});
