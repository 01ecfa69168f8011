import { describe, expect, test } from 'vitest';
import type { Build } from '../../sim/buildkite/index.ts';
import { judge, summarise } from '../../faults/check/index.ts';
import type { Evidence } from '../../faults/evidence.ts';
import {
  second,
  pipeline,
  run,
  aBuild,
  create,
  aStatus,
  anAttempt,
  aPost,
  first,
  good,
  withTables,
  withBuilds,
  withStatuses,
  broken,
  verdict,
} from '../support/small-evidence.ts';

describe('statuses', () => {
  test('go down only in a later attempt that somebody asked for', () => {
    const second1 = aBuild('second', 5 * second, { metaData: { ...first.metaData, whorl_run: run(2) } });
    const statuses = [
      aStatus(1, 'pending'),
      aStatus(3, 'success'),
      aStatus(5, 'pending', { attempt: 2 }),
      aStatus(7, 'success', { attempt: 2 }),
    ];
    const attempts = [anAttempt(1, 'first'), anAttempt(2, 'second', { command: 'c1' })];
    const builds = [aPost('first'), aPost('second', { attempt: 2 })];
    const again = withBuilds(
      withTables(withStatuses(good, statuses), { attempts, builds }),
      [first, second1],
      [create(1, first)],
    );
    expect(broken(again)).toEqual([3]);
    const asked = [{ id: 'c1', kind: 'rerun' as const, pipeline, job: 'ci.yml', at: 4 * second }];
    expect(broken({ ...again, asked })).toEqual([]);
  });

  test('go down only in a later epoch of a build that went on', () => {
    const statuses = [aStatus(1, 'failed'), aStatus(3, 'running', { epoch: 1 }), aStatus(5, 'success', { epoch: 1 })];
    expect(broken(withStatuses(good, statuses))).toEqual([3]);
    const history: Build['history'] = [
      { state: 'failed', blocked: false, at: second },
      { state: 'running', blocked: false, at: 3 * second },
      { state: 'passed', blocked: false, at: 4 * second },
    ];
    const wentOn = withBuilds(withStatuses(good, statuses), [{ ...first, history }], [create(1, first)]);
    expect(broken(wentOn)).toEqual([]);
  });

  test('that say less than before, or of an earlier attempt, are a step back', () => {
    const down = [aStatus(1, 'running'), aStatus(3, 'pending'), aStatus(5, 'success')];
    expect(verdict(withStatuses(good, down), 3).found).toEqual({ down: 2 });
    const back = [aStatus(1, 'pending', { epoch: 1 }), aStatus(3, 'success')];
    expect(verdict(withStatuses(good, back), 3).found).toEqual({ back: 2 });
  });

  test('that came in another order than they were sent are seen at the reader', () => {
    const frames = [good.frames[0], good.frames[2], good.frames[1]].flatMap((frame) => frame ?? []);
    expect(broken({ ...good, frames })).toEqual([2, 3]);
    const links = frames.map((frame, n) => ({ ...frame, connection: n }));
    expect(broken({ ...good, frames: links })).toEqual([3]);
  });

  test('are a second apart', () => {
    const close = [aStatus(1, 'pending'), aStatus(2, 'running', { created_at: 1_500 }), aStatus(3, 'success')];
    expect(verdict(withStatuses(good, close), 2).found).toEqual({ spacing: 1 });
  });

  test('are withheld for ever, which is stuck, and never came, which is no fault of the reader', () => {
    const due = withTables(good, {
      statuses: [...good.tables.statuses, aStatus(9, 'failed', { state: 'due', cursor: null })],
    });
    expect(broken(due)).toEqual([6]);
  });

  test('of a rebuild that was told and never taken over are wrong', () => {
    const rebuild = aBuild('rebuild', 5 * second, {
      source: 'ui',
      metaData: {},
      rebuiltFrom: { id: 'first', number: 1, url: '' },
    });
    const evidence = withBuilds(good, [first, rebuild], [create(1, first)]);
    expect(broken(evidence)).toEqual([]);
    const word: Evidence['ci']['deliveries'][number] = {
      n: 1,
      hook: '',
      url: '',
      event: 'build.running',
      build: { id: 'rebuild', org: 'acme', pipeline: 'app', number: 5 },
      job: null,
      requestId: 'r1',
      at: 6 * second,
      sentAt: 6 * second,
      status: 200,
      outcome: 'answered',
      error: null,
      fault: null,
      forged: false,
    };
    const told = { ...evidence, ci: { ...evidence.ci, deliveries: [word] } };
    expect(broken(told)).toEqual([2]);
    const taken = withTables(
      withStatuses(told, [aStatus(1, 'pending'), aStatus(3, 'success'), aStatus(7, 'success', { attempt: 2 })]),
      {
        attempts: [anAttempt(1, 'first'), anAttempt(2, 'rebuild', { adopted_from: 'first' })],
        builds: [aPost('first'), aPost('rebuild', { attempt: 2, outcome: 'adopted' })],
      },
    );
    expect(broken(taken)).toEqual([]);
  });

  test('came late: the time until the last one is measured from the end of the faults, or of the build', () => {
    expect(summarise(good, judge(good)).max_settle_s).toBe(1);
    const faultsEndedAt = 2_500;
    expect(summarise({ ...good, faultsEndedAt }, judge(good)).max_settle_s).toBe(0.5);
    expect(broken({ ...good, quietAt: null })).toEqual([2]);
  });
});

test('two readers of one log that has ended get the same', () => {
  const read = { knot: 'knot.example', rkey: 'abc', job: 'ci.yml', at: 9, lines: 3, closed: 1000, digest: 'one' };
  expect(broken({ ...good, logReads: [read, { ...read }] })).toEqual([]);
  expect(broken({ ...good, logReads: [read, { ...read, digest: 'other' }] })).toEqual([2]);
  expect(broken({ ...good, logReads: [read, { ...read, digest: 'half', closed: 1006 }] })).toEqual([]);
});
