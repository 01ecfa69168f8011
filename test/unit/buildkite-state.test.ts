import { describe, expect, test } from 'vitest';
import { observe } from '../../src/providers/buildkite/state.ts';
import { parseBuild, parseBuildUrl, parseTime } from '../../src/providers/buildkite/wire.ts';

const finished = '2026-11-20T10:00:05.678Z';
const at = Date.parse(finished);

function seen(fields: Record<string, unknown>) {
  const build = parseBuild({ id: 'b1', ...fields });
  if (!build) throw new Error('no build');
  return observe(build);
}

const job = (fields: Record<string, unknown>) => ({ id: 'j', type: 'script', name: 'tests', ...fields });

describe('a build says', () => {
  test.each([
    ['creating', { state: 'creating' }, { status: 'pending', at: 0 }],
    ['scheduled', { state: 'scheduled' }, { status: 'pending', at: 0 }],
    ['waiting', { state: 'waiting' }, { status: 'pending', at: 0 }],
    ['running', { state: 'running' }, { status: 'running', at: 0 }],
    ['failing', { state: 'failing' }, { status: 'running', at: 0 }],
    ['canceling', { state: 'canceling' }, { status: 'running', at: 0 }],
    ['canceling while blocked', { state: 'canceling', blocked: true }, { status: 'running', at: 0 }],
    ['waiting_failed', { state: 'waiting_failed', finished_at: null }, { status: 'running', at: 0 }],
    ['passed', { state: 'passed', blocked: false, finished_at: finished }, { status: 'success', at }],
    ['not_run', { state: 'not_run', finished_at: finished }, { status: 'success', at }],
    ['canceled', { state: 'canceled', finished_at: finished }, { status: 'cancelled', at }],
    [
      'canceled while blocked',
      { state: 'canceled', blocked: true, finished_at: finished },
      { status: 'cancelled', at },
    ],
    [
      'canceled with a reason',
      { state: 'canceled', finished_at: finished, cancel_reason: 'a newer\nbuild\0' },
      { status: 'cancelled', at },
    ],
    [
      'canceled by somebody who said why',
      { state: 'canceled', finished_at: finished, cancel_reason: 'stopped by\nAlice' },
      { status: 'cancelled', at, error: 'stopped by Alice' },
    ],
    [
      'skipped',
      { state: 'skipped', finished_at: null },
      { status: 'cancelled', at: 0, error: 'superseded by a newer build' },
    ],
    [
      'running again after a retry',
      { state: 'running', finished_at: null, failing_at: finished },
      { status: 'running', at: 0 },
    ],
  ])('%s', (_name, fields, expected) => {
    expect(seen(fields)).toEqual({ build: 'b1', ...expected });
  });

  test.each(['new_in_2027', undefined, null, 7, 'constructor'])('nothing in the unknown state %s', (state) => {
    expect(seen({ state, finished_at: finished })).toBeUndefined();
  });
});

describe('a blocked build is not an end', () => {
  const error = expect.stringContaining('approval');
  const passed = { state: 'passed', blocked: true, blocked_state: 'passed', finished_at: finished };
  test.each([
    ['by its flag', passed, { status: 'running', error }],
    ['by its state', { state: 'blocked', finished_at: finished }, { status: 'running', error }],
    ['while it runs', { state: 'running', blocked: true }, { status: 'running', error }],
    [
      'shown as pending if asked',
      { ...passed, meta_data: { whorl_on_block: 'pending' } },
      { status: 'pending', error },
    ],
    ['shown as success if asked', { ...passed, meta_data: { whorl_on_block: 'success' } }, { status: 'success' }],
    [
      'shown as running for a word that is none',
      { ...passed, meta_data: { whorl_on_block: 'x' } },
      { status: 'running', error },
    ],
    ['shown as failed if the block step says so', { ...passed, blocked_state: 'failed' }, { status: 'failed', error }],
  ])('%s', (_name, fields, expected) => {
    expect(seen(fields)).toEqual({ build: 'b1', at: 0, ...expected });
  });
});

describe('a failed build', () => {
  const failed = (jobs: unknown[] | undefined) => seen({ state: 'failed', finished_at: finished, jobs });

  test('without its jobs is unsure, since it may have timed out', () => {
    expect(failed(undefined)).toEqual({ build: 'b1', status: 'failed', at, unsure: true });
  });

  test('takes the exit code of the first job that failed hard', () => {
    const jobs = [
      job({ state: 'failed', exit_status: 3, soft_failed: true }),
      job({ state: 'failed', exit_status: 4, retried: true }),
      { id: 'w', type: 'waiter', state: 'waiting_failed' },
      job({ name: 'lint', state: 'failed', exit_status: 5 }),
      job({ state: 'failed', exit_status: 6 }),
    ];
    expect(failed(jobs)).toEqual({
      build: 'b1',
      status: 'failed',
      at,
      exitCode: 5,
      error: '“lint” failed with exit status 5',
    });
  });

  test.each([
    ['one timed out', [job({ state: 'timed_out', exit_status: null })], 'timeout'],
    ['all timed out or expired', [job({ state: 'timed_out' }), job({ state: 'expired' })], 'timeout'],
    [
      'a soft failure beside a time-out',
      [job({ state: 'failed', soft_failed: true }), job({ state: 'timed_out' })],
      'timeout',
    ],
    [
      'a retried failure beside a time-out',
      [job({ state: 'failed', retried: true }), job({ state: 'expired' })],
      'timeout',
    ],
    [
      'one timed out, another failed',
      [job({ state: 'timed_out' }), job({ state: 'failed', exit_status: 1 })],
      'failed',
    ],
    ['nothing that decides', [job({ state: 'broken' })], 'failed'],
    ['no jobs at all', [], 'failed'],
  ])('with %s is %3$s', (_name, jobs, status) => {
    const result = failed(jobs);
    expect(result).toMatchObject({ status, at });
    expect(result?.unsure).toBeUndefined();
  });

  test('says that an agent was lost', () => {
    expect(failed([job({ state: 'failed', exit_status: -1 })])).toMatchObject({
      exitCode: -1,
      error: '“tests” lost its agent',
    });
  });
});

test.each([
  ['2018-11-01 15:03:16 UTC', Date.UTC(2018, 10, 1, 15, 3, 16)],
  ['2018-11-01T15:03:16.123Z', Date.UTC(2018, 10, 1, 15, 3, 16, 123)],
  ['2018-11-01T15:03:16.123987Z', Date.UTC(2018, 10, 1, 15, 3, 16, 123)],
  ['yesterday', undefined],
  ['', undefined],
  [undefined, undefined],
])('the time %s is %s ms', (text, ms) => {
  expect(parseTime(text)).toBe(ms);
});

test('organization, pipeline and number come from the API address', () => {
  expect(parseBuildUrl('https://api.buildkite.com/v2/organizations/acme/pipelines/app/builds/12')).toEqual({
    org: 'acme',
    pipeline: 'app',
    number: 12,
  });
  expect(parseBuildUrl('https://buildkite.com/acme/app/builds/12')).toBeUndefined();
});

test.each([[null], ['b1'], [{}], [{ id: '' }], [{ id: 7 }], [{ id: 'a\0' }], [[]]])('%j is no build', (value) => {
  expect(parseBuild(value)).toBeUndefined();
});
