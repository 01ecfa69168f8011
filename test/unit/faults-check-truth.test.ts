import { expect, test } from 'vitest';
import type { Build, BuildState, Job, JobState } from '../../sim/buildkite/index.ts';
import { fakeWord, finalWords, phasesOf } from '../../faults/check/truth.ts';
import type { SentDelivery } from '../../faults/evidence.ts';

const job = (state: JobState, more: Partial<Job> = {}): Job => ({
  id: state,
  type: 'script',
  name: '',
  key: '',
  command: '',
  parallel: null,
  triggers: null,
  createdAt: 0,
  state,
  exitStatus: null,
  signalReason: null,
  softFailed: false,
  scheduledAt: null,
  startedAt: null,
  finishedAt: null,
  expiredAt: null,
  retriedInJobId: null,
  retriesCount: 0,
  retrySource: null,
  unblockedBy: null,
  brokenReason: null,
  ...more,
});

/** A build that went through these states, one each second; `wait` is a block step. */
function build(states: (BuildState | 'wait')[], jobs: Job[] = [], more: Partial<Build> = {}): Build {
  const history = states.map((state, n) =>
    state === 'wait'
      ? { state: 'passed' as const, blocked: true, at: n * 1000 }
      : { state, blocked: false, at: n * 1000 },
  );
  const last = history.at(-1) ?? { state: 'creating' as const, blocked: false, at: 0 };
  return {
    id: 'b',
    org: 'acme',
    pipeline: 'app',
    number: 1,
    commit: '',
    branch: '',
    message: null,
    env: {},
    metaData: {},
    source: 'api',
    creator: null,
    author: null,
    pullRequest: null,
    rebuiltFrom: null,
    createdAt: 0,
    state: last.state,
    blocked: last.blocked,
    blockedState: last.blocked ? 'passed' : '',
    cancelReason: null,
    scheduledAt: null,
    startedAt: null,
    failingAt: null,
    finishedAt: last.at,
    indexed: true,
    jobs,
    history,
    ...more,
  };
}

const told = (event: SentDelivery['event'], at: number): SentDelivery => ({
  n: 1,
  hook: '',
  url: '',
  event,
  build: { id: 'b', org: 'acme', pipeline: 'app', number: 1 },
  job: null,
  requestId: '',
  at,
  sentAt: at,
  status: 200,
  outcome: 'answered',
  error: null,
  fault: null,
  forged: false,
});

test.for<[what: string, build: Build, words: string[]]>([
  ['passed', build(['scheduled', 'running', 'passed']), ['success']],
  ['not run', build(['scheduled', 'not_run']), ['success']],
  ['cancelled', build(['running', 'canceling', 'canceled']), ['cancelled']],
  ['skipped', build(['scheduled', 'skipped']), ['cancelled']],
  ['running', build(['scheduled', 'running']), ['running']],
  ['failing', build(['running', 'failing']), ['running']],
  ['being cancelled', build(['running', 'canceling']), ['running']],
  ['scheduled', build(['creating', 'scheduled']), ['pending']],
  ['at a block step', build(['running', 'wait']), ['running']],
  [
    'at a block step that counts as success',
    build(['wait'], [], { metaData: { whorl_on_block: 'success' } }),
    ['success'],
  ],
  [
    'at a block step that counts as pending',
    build(['wait'], [], { metaData: { whorl_on_block: 'pending' } }),
    ['pending', 'running'],
  ],
  ['at a block step after a failure', build(['wait'], [], { blockedState: 'failed' }), ['failed']],
  ['unblocked, and passed', build(['running', 'wait', 'running', 'passed']), ['success']],
  ['failed', build(['failed'], [job('failed'), job('passed')]), ['failed']],
  ['failed without a job that did', build(['failed'], [job('passed')]), ['failed']],
  ['failed by time-outs alone', build(['failed'], [job('timed_out'), job('expired'), job('passed')]), ['timeout']],
  ['failed by a time-out and a failure', build(['failed'], [job('timed_out'), job('failed')]), ['failed']],
  [
    'failed by a time-out and a soft failure',
    build(['failed'], [job('timed_out'), job('failed', { softFailed: true })]),
    ['timeout'],
  ],
  [
    'failed by a time-out, after a failure that was retried',
    build(['failed'], [job('failed', { retriedInJobId: 'timed_out' }), job('timed_out')]),
    ['timeout'],
  ],
])('a build that is %s', ([, one, words]) => {
  expect(finalWords(one, [])).toEqual(words);
});

const reopened = build(
  ['running', 'failed', 'running', 'passed'],
  [job('timed_out', { retriedInJobId: 'passed' }), job('passed', { createdAt: 2000 })],
);

test('a retry begins another phase, and what the first one ended as is known from its own jobs', () => {
  expect(phasesOf(reopened)).toEqual([
    { from: 0, to: 1000, words: ['timeout'] },
    { from: 2000, to: 3000, words: ['success'] },
  ]);
});

test('as long as nobody told that a build goes on after its end, the first end is as good as the last', () => {
  expect(finalWords(reopened, [])).toEqual(['timeout', 'success']);
  expect(finalWords(reopened, [told('build.finished', 1000)])).toEqual(['timeout', 'success']);
  expect(finalWords(reopened, [told('build.running', 2000)])).toEqual(['success']);
  expect(finalWords(reopened, [told('build.finished', 3000)])).toEqual(['success']);
});

test('a build that goes on is running, once that was told', () => {
  const going = build(
    ['running', 'failed', 'running'],
    [job('failed', { retriedInJobId: 'running' }), job('running', { createdAt: 2000 })],
  );
  expect(finalWords(going, [])).toEqual(['failed', 'running']);
  expect(finalWords(going, [told('build.running', 2000)])).toEqual(['running']);
});

test('a build of the built-in CI says where it stands', () => {
  const steps = [
    { status: 'running', at: 100 },
    { status: 'failed', at: 200 },
  ];
  const data = { start: 1000, run: 0, target: { runs: [{ steps }], logs: [] } };
  expect(fakeWord(data, 1050)?.word).toBe('pending');
  expect(fakeWord(data, 1150)?.word).toBe('running');
  expect(fakeWord(data, 9999)).toEqual({ word: 'failed', at: 1200 });
  expect(fakeWord({ ...data, stopped: 1150 }, 9999)).toEqual({ word: 'cancelled', at: 1150 });
  expect(fakeWord({ ...data, run: 7 }, 9999)?.word).toBe('failed');
  expect(fakeWord(null, 9999)).toBeUndefined();
});
