import { describe, expect, test } from 'vitest';
import type { Crash, Disturbance, Evidence, Push } from '../../faults/evidence.ts';
import {
  aBuild,
  aStatus,
  aWorkflow,
  anAttempt,
  broken,
  create,
  good,
  pipeline,
  said,
  second,
  withBuilds,
  withStatuses,
  withTables,
} from '../support/small-evidence.ts';

const disturbed = (fault: string, target: string, from: number, to: number): Disturbance => ({
  fault,
  target,
  from,
  to,
  about: '',
});

describe('a job that a newer push made superfluous', () => {
  const other = 'pipeline/knot.example/abd';
  const asking = (push: Push, more: Partial<Push> = {}): Push => ({
    ...push,
    branch: 'next',
    jobs: [{ name: 'ci.yml', expect: 'build', supersede: true }],
    ...more,
  });
  const [old] = good.pushes as [Push];
  const newer = asking(old, { rkey: 'abd', at: 1.5 * second });
  const stopped = aBuild('first', second, { state: 'canceled' });
  const command = {
    id: 'c1',
    pipeline,
    kind: 'cancel',
    job: 'ci.yml',
    state: 'done',
    result: 'Cancelling ci.yml.',
    received_at: 1.6 * second,
    settled_at: 1.7 * second,
  };
  const ended = [aStatus(1, 'pending'), aStatus(9, 'cancelled')];
  /** The newer one is only there to be the newer one: what else is said of it is not looked at here. */
  const both = (pushes: Push[], more: Partial<Evidence['tables']> = {}): Evidence => {
    const base = withStatuses(withBuilds(good, [stopped], [create(1, stopped)]), ended);
    const attempts = [anAttempt(1, 'first', { cancel_asked_at: 1.7 * second })];
    const rows = withTables(base, {
      attempts,
      commands: [command],
      pipelines: [
        ...base.tables.pipelines,
        { id: other, knot: 'knot.example', rkey: 'abd', did: 'did:web:a', repo: 'app', created_at: 1.5 * second },
      ],
      ...more,
    });
    const cancel = { ...create(2, null), route: 'cancel' as const, at: 1.8 * second, status: 200, body: null };
    const requests = [...rows.ci.requests, { ...cancel, build: create(1, stopped).build }];
    return { ...rows, pushes, ci: { ...rows.ci, requests } };
  };
  const verdicts = (evidence: Evidence) =>
    said(evidence)
      .split('\n')
      .filter((text) => text.startsWith(pipeline));

  test('is rightly cancelled, though no person asked for it', () => {
    expect(verdicts(both([asking(old), newer]))).toEqual([]);
  });

  test.for<[what: string, pushes: Push[]]>([
    ['without a newer push', [asking(old)]],
    ['of which the file does not ask for it', [{ ...old, branch: 'next' }, newer]],
    ['by a push to another branch', [asking(old), { ...newer, branch: 'main' }]],
    ['by an older push', [asking(old), { ...newer, rkey: 'abb' }]],
  ])('%s is not to be cancelled', ([, pushes]) => {
    expect(verdicts(both(pushes)).join()).toMatch('was cancelled by us at 00:00:01.800, and nobody had asked for it');
  });

  test('and went on is named', () => {
    const evidence = both([asking(old), newer], { commands: [], attempts: [anAttempt(1, 'first')] });
    expect(verdicts(evidence).join()).toMatch(
      `was superseded at 00:00:01.500 by ${other}, and nobody cancelled it; it ended at 00:00:09.000`,
    );
  });

  test('may have ended before the newer push was taken', () => {
    const evidence = both([asking(old), newer], { commands: [], attempts: [anAttempt(1, 'first')] });
    expect(verdicts(withStatuses(evidence, [aStatus(1, 'pending'), aStatus(3, 'cancelled')]))).toEqual([]);
  });
});

describe('a process that was told to stop', () => {
  const crash: Crash = {
    process: 'worker-1',
    startedAt: 0,
    toldAt: 100 * second,
    at: 120 * second,
    code: 1,
    signal: null,
    lastLines: ['not everything ended'],
  };

  test('must end well, unless what it needs was away', () => {
    const with_ = (...disturbances: Disturbance[]): number[] => broken({ ...good, crashes: [crash], disturbances });
    expect(with_()).toEqual([6]);
    expect(said({ ...good, crashes: [crash] })).toMatch(
      'worker-1 was told to stop at 00:01:40.000, and ended at 00:02:00.000 with code 1: not everything ended',
    );
    expect(with_(disturbed('drain', 'worker-1', 100 * second, 121 * second))).toEqual([6]);
    expect(with_(disturbed('temporal-away', 'temporal', 90 * second, 110 * second))).toEqual([]);
    expect(with_(disturbed('link-half-open', 'worker-1/postgres', 90 * second, 110 * second))).toEqual([]);
    expect(with_(disturbed('link-half-open', 'worker-2/postgres', 90 * second, 110 * second))).toEqual([6]);
    expect(with_(disturbed('temporal-away', 'temporal', 80 * second, 90 * second))).toEqual([6]);
  });
});

describe('a database that was lost', () => {
  const lost = disturbed('restore', 'postgres', 60 * second, 80 * second);
  const strayed = (at: number): Evidence => ({
    ...good,
    frames: [
      ...good.frames,
      { ...(good.frames.at(-1) as Evidence['frames'][number]), rkey: 'lost', at, createdAt: at },
    ],
    disturbances: [lost],
  });

  test('may have published what it does not know any more, and nothing else', () => {
    expect(broken(strayed(70 * second))).toEqual([]);
    expect(broken(strayed(58 * second))).toEqual([]);
    expect(broken(strayed(50 * second))).toEqual([2]);
    expect(broken(strayed(81 * second))).toEqual([2]);
    expect(broken({ ...strayed(70 * second), disturbances: [] })).toEqual([2]);
  });

  test('may have forgotten who asked for what', () => {
    const asked = (at: number): Evidence => ({
      ...good,
      asked: [{ id: 'c1', kind: 'cancel', pipeline, job: null, at }],
      disturbances: [lost],
    });
    expect(broken(asked(70 * second))).toEqual([]);
    expect(broken(asked(81 * second))).toEqual([7]);
  });

  test('leads to runs that were ended, if others took their place', () => {
    const ended = { ...aWorkflow, runId: 'run-0', status: 'TERMINATED' };
    expect(broken({ ...good, workflows: [ended, aWorkflow], disturbances: [lost] })).toEqual([]);
    expect(broken({ ...good, workflows: [ended], disturbances: [lost] })).toEqual([6]);
  });
});
