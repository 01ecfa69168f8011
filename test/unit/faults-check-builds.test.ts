import { describe, expect, test } from 'vitest';
import type { RequestRecord } from '../../sim/buildkite/index.ts';
import { judge, summarise } from '../../faults/check/index.ts';
import type { Disturbance, Evidence } from '../../faults/evidence.ts';
import {
  second,
  pipeline,
  aBuild,
  create,
  aStatus,
  anAttempt,
  aPost,
  aWorkflow,
  first,
  good,
  withTables,
  withBuilds,
  withStatuses,
  broken,
  said,
  verdict,
} from '../support/small-evidence.ts';

describe('a second build', () => {
  const extra = aBuild('extra', 3 * second, { state: 'canceled' });
  const both = [create(1, first), create(2, extra)];
  const disturbed = (target: string, from: number, to = from): Disturbance => ({
    fault: 'it',
    target,
    from,
    to,
    about: '',
  });

  test('without a reason is too many, even when it was cancelled', () => {
    expect(broken(withBuilds(good, [first, extra], both))).toEqual([1]);
  });

  test.for<[what: string, requests: RequestRecord[]]>([
    ['was lost', [create(1, first, { lost: true, status: null }), create(2, extra)]],
    ['was an error', [create(1, first, { status: 500, fault: 'answer 500, yet accepted' }), create(2, extra)]],
    ['was late', [create(1, first, { fault: 'slow by 9000 ms' }), create(2, extra)]],
  ])('that was cancelled is excused when the answer to the first POST %s', ([, requests]) => {
    const evidence = withBuilds(good, [first, extra], requests);
    expect(broken(evidence)).toEqual([]);
    expect(summarise(evidence, judge(evidence))).toMatchObject({ builds: 1, extras_cancelled: 1, doubled: 0 });
  });

  test('that was refused with 429 before is no excuse', () => {
    const requests = [create(1, null, { status: 429, fault: 'answer 429' }), create(2, first), create(3, extra)];
    expect(broken(withBuilds(good, [first, extra], requests))).toEqual([1]);
  });

  test.for<[what: string, disturbance: Disturbance, excused: boolean]>([
    ['a worker that was killed meanwhile', disturbed('worker-1', 2 * second), true],
    ["a worker's link that was cut meanwhile", disturbed('worker-2/ci', 2 * second), true],
    ['PostgreSQL away since before', disturbed('postgres', 0, 9 * second), true],
    ['Temporal away meanwhile', disturbed('temporal', 2 * second, 3 * second), true],
    ['a worker that was killed much later', disturbed('worker-1', 30 * second), false],
    ['a knot that was cut', disturbed('knot-1', 2 * second), false],
    ['an ingest that was killed', disturbed('ingest-1', 2 * second), false],
    ["an ingest's link to PostgreSQL", disturbed('ingest-1/postgres', 2 * second), false],
    ['webhooks that were lost', disturbed('ci', 2 * second), false],
  ])('%s', ([, disturbance, excused]) => {
    const evidence = { ...withBuilds(good, [first, extra], both), disturbances: [disturbance] };
    expect(broken(evidence)).toEqual(excused ? [] : [1]);
  });

  test('that nobody cancelled is too many, with an excuse or without', () => {
    const twin = aBuild('twin', 3 * second);
    const evidence = withBuilds(good, [first, twin], [create(1, first, { lost: true, status: null }), create(2, twin)]);
    expect(broken(evidence)).toEqual([1]);
    expect(verdict(evidence, 1).found).toEqual({ doubled: 1 });
  });

  test('that had ended before it was found needs no cancel, if it was found at all', () => {
    const twin = aBuild('twin', 3 * second);
    const evidence = withBuilds(good, [first, twin], [create(1, first, { lost: true, status: null }), create(2, twin)]);
    const found = (since: number) =>
      withTables(evidence, { builds: [aPost('first'), aPost('twin', { extra_since: since, cancelled_at: since })] });
    expect(broken(found(9 * second))).toEqual([]);
    expect(broken(found(3 * second))).toEqual([1]);
  });

  test('of our token for what nobody pushed, or for the wrong job, is too many', () => {
    const other = aBuild('other', 3 * second, { metaData: { ...first.metaData, 'tack:pipeline_rkey': 'xyz' } });
    expect(said(withBuilds(good, [first, other], [create(1, first)]))).toContain('which nobody pushed');
    const wrong = aBuild('wrong', 3 * second, { metaData: { ...first.metaData, 'tack:workflow': 'b.yml' } });
    expect(said(withBuilds(good, [first, wrong], [create(1, first)]))).toContain('no such job');
  });

  test('of a person with our meta_data is not ours', () => {
    const theirs = aBuild('theirs', 3 * second, { creator: { id: 'them', name: 'Them', email: '' } });
    expect(broken(withBuilds(good, [first, theirs], [create(1, first)]))).toEqual([]);
  });
});

describe('no build', () => {
  const none = withBuilds(good, [], []);
  const cancel = { id: 'c1', kind: 'cancel' as const, pipeline, job: null, at: second };
  const command = {
    id: 'c1',
    pipeline,
    kind: 'cancel',
    job: null,
    state: 'done',
    result: 'Cancelling ci.yml.',
    received_at: second,
    settled_at: 2 * second,
  };

  test('is lost', () => {
    expect(verdict(none, 1)).toMatchObject({ kept: false, found: { lost: 1 } });
  });

  test('is right when the job was cancelled before there could be one', () => {
    const stopped = withStatuses(
      withTables(none, {
        attempts: [anAttempt(1, null, { cancel_asked_at: second })],
        builds: [],
        commands: [command],
        logs: [{ pipeline, job: 'ci.yml', attempt: 1, entries: '3', removed_at: null, text: 'Cancelled by a person.' }],
      }),
      [aStatus(1, 'pending'), aStatus(2, 'cancelled', { error: 'Cancelled by a person.' })],
    );
    const details = '| ci.yml | 1 | cancelled | — | Cancelled by a person. |';
    const evidence: Evidence = {
      ...stopped,
      asked: [cancel],
      shown: { [pipeline]: 'Cancelled by a person.' },
      workflows: [{ ...aWorkflow, details }],
    };
    expect(said(evidence)).toBe('');
    expect(broken({ ...evidence, asked: [] })).toContain(1);
    expect(broken({ ...evidence, shown: {} })).toEqual([6]);
    expect(broken({ ...evidence, workflows: [aWorkflow] })).toEqual([6]);
    const mute = evidence.frames.map(({ error: _error, ...frame }) => frame);
    expect(broken({ ...evidence, frames: mute })).toEqual([6]);
  });

  test('of an attempt that a rerun was answered with is lost too', () => {
    const rerun = { ...command, kind: 'rerun', result: 'ci.yml: attempt 2' };
    expect(said(withTables(good, { commands: [rerun] }))).toContain('there is no such attempt');
    const attempts = [anAttempt(1, 'first'), anAttempt(2, null, { command: 'c1' })];
    expect(said(withTables(good, { commands: [rerun], attempts }))).toContain('attempt 2, pushed at');
  });

  test('and not even in the list of pushes, though the knot sent it', () => {
    const books = [...good.books, { knot: 'knot.example', rkey: 'forgotten' }];
    expect(broken({ ...good, books })).toEqual([1]);
  });
});
