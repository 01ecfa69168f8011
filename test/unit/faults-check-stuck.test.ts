import { describe, expect, test } from 'vitest';
import type { Workflow } from '../../faults/evidence.ts';
import {
  second,
  pipeline,
  aBuild,
  create,
  aStatus,
  anAttempt,
  aWorkflow,
  first,
  good,
  withTables,
  withBuilds,
  withStatuses,
  broken,
  said,
} from '../support/small-evidence.ts';

describe('what is stuck', () => {
  const runs: Workflow = { ...aWorkflow, status: 'RUNNING' };

  test('a workflow that runs says what it waits for', () => {
    const pending = [{ activity: 'create:ci.yml', attempt: 7, failure: 'Buildkite answered 502' }];
    const evidence = { ...good, workflows: [{ ...runs, pending }] };
    expect(broken(evidence)).toEqual([6]);
    expect(said(evidence)).toContain('create:ci.yml, try 7: Buildkite answered 502');
  });

  test('a workflow may run while it is parked, and while its build goes on', () => {
    expect(broken({ ...good, workflows: [{ ...runs, parked: ['Forbidden'] }] })).toEqual([]);
    const going = { ...first, state: 'running' as const, history: first.history.slice(0, 1), finishedAt: null };
    const evidence = withBuilds(withStatuses(good, [aStatus(1, 'running')]), [going], [create(1, first)]);
    expect(broken({ ...evidence, workflows: [runs] })).toEqual([]);
  });

  test('a workflow that failed, or whose task fails', () => {
    for (const status of ['FAILED', 'TIMED_OUT', 'TERMINATED'])
      expect(broken({ ...good, workflows: [{ ...aWorkflow, status }] })).toEqual([6]);
    expect(broken({ ...good, workflows: [{ ...aWorkflow, taskFailure: 'TMPRL1100' }] })).toEqual([6]);
    expect(broken({ ...good, workflows: [] })).toEqual([6]);
  });

  test('a run that a reset ended is no failure, if another took its place', () => {
    const ended: Workflow = { ...aWorkflow, runId: 'run-0', status: 'TERMINATED' };
    const reset = { fault: 'reset', target: pipeline, from: 0, to: 0, about: '' };
    expect(broken({ ...good, workflows: [ended, aWorkflow], disturbances: [reset] })).toEqual([]);
    expect(broken({ ...good, workflows: [ended, aWorkflow] })).toEqual([6]);
    expect(broken({ ...good, workflows: [ended], disturbances: [reset] })).toEqual([6]);
  });

  test('a process that ended by itself is a fault of ours, unless what it needs was away at its start', () => {
    const crash = {
      process: 'worker-1',
      startedAt: 50 * second,
      at: 55 * second,
      code: 1,
      signal: null,
      lastLines: ['x'],
    };
    const away = (from: number, to: number) => ({ fault: 'restart', target: 'postgres', from, to, about: '' });
    expect(broken({ ...good, crashes: [crash] })).toEqual([6]);
    expect(broken({ ...good, crashes: [crash], disturbances: [away(52 * second, 54 * second)] })).toEqual([]);
    expect(broken({ ...good, crashes: [crash], disturbances: [away(10 * second, 20 * second)] })).toEqual([6]);
    const old = { ...crash, startedAt: 0 };
    expect(broken({ ...good, crashes: [old], disturbances: [away(52 * second, 54 * second)] })).toEqual([6]);
  });
});

describe('a cancel', () => {
  const asked = [{ id: 'c1', kind: 'cancel' as const, pipeline, job: null, at: second }];
  const done = {
    id: 'c1',
    pipeline,
    kind: 'cancel',
    job: null,
    state: 'done',
    result: 'Cancelling ci.yml.',
    received_at: 1_500,
    settled_at: 1_600,
  };
  const put = (at: number) => create(9, first, { route: 'cancel', method: 'PUT', at, body: null, status: 422 });
  const attempts = [anAttempt(1, 'first', { cancel_asked_at: 1_700 })];

  test('that is in no book is lost', () => {
    expect(broken({ ...good, asked })).toEqual([7]);
  });

  test('that came after the end was not needed', () => {
    const evidence = withTables({ ...good, asked }, { commands: [done], attempts });
    expect(broken(withBuilds(evidence, [first], [create(1, first), put(2_100)]))).toEqual([]);
  });

  test('after which the build went on to its end was not honoured, unless that is said', () => {
    const late = { ...first, finishedAt: 30 * second };
    const evidence = withBuilds(
      withTables({ ...good, asked }, { commands: [done], attempts }),
      [late],
      [create(1, late), put(2_100)],
    );
    expect(broken(evidence)).toEqual([7]);
    const note = 'could not be stopped: the token may not';
    const jobs = evidence.tables.jobs.map((job) => ({ ...job, note }));
    expect(broken(withTables(evidence, { jobs }))).toEqual([]);
  });

  test('that nobody asked for', () => {
    expect(broken(withBuilds(good, [first], [create(1, first), put(1_500)]))).toEqual([7]);
  });

  test('of a build that is not ours is a matter of foreign builds', () => {
    const theirs = aBuild('theirs', second, { creator: null, metaData: {} });
    const request = create(9, theirs, { route: 'cancel', method: 'PUT' });
    expect(broken(withBuilds(good, [first, theirs], [create(1, first), request]))).toEqual([4]);
  });
});
