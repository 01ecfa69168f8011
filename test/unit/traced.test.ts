import { describe, expect, test } from 'vitest';
import { bind, hear, newJob, say, standing } from '../../src/pipeline/job.ts';
import type { Status } from '../../src/pipeline/status.ts';
import { placeBuilds, recalled, type TracedBuild } from '../../src/pipeline/traced.ts';

const ours = (build: string, attempt: number, status: TracedBuild['status'] = 'running'): TracedBuild => ({
  build,
  status,
  attempt,
});
const rebuild = (build: string, rebuiltFrom: string, status: TracedBuild['status'] = 'running'): TracedBuild => ({
  build,
  status,
  rebuiltFrom,
});
const places = (placed: ReturnType<typeof placeBuilds>) => [
  placed.bound.map(({ attempt, build }) => `${attempt}:${build}`),
  placed.extra,
];

describe('builds that are found without their rows', () => {
  test.for<{ what: string; known: [number, string | null][]; traced: TracedBuild[]; bound: string[]; extra: string[] }>(
    [
      { what: 'nothing is found', known: [[1, null]], traced: [], bound: [], extra: [] },
      { what: 'what is bound stays', known: [[1, 'a']], traced: [ours('a', 1)], bound: [], extra: [] },
      {
        what: 'an attempt without a build gets its own',
        known: [[1, null]],
        traced: [ours('a', 1)],
        bound: ['1:a'],
        extra: [],
      },
      {
        what: 'a rerun that was lost is the next attempt',
        known: [[1, 'a']],
        traced: [ours('a', 1, 'failed'), ours('b', 2)],
        bound: ['2:b'],
        extra: [],
      },
      {
        what: 'of two builds of one attempt the later one that goes on is cancelled',
        known: [[1, null]],
        traced: [ours('a', 1), ours('b', 1)],
        bound: ['1:a'],
        extra: ['b'],
      },
      {
        what: 'an extra that was cancelled is not taken for the build',
        known: [[1, null]],
        traced: [ours('a', 1, 'cancelled'), ours('b', 1)],
        bound: ['1:b'],
        extra: [],
      },
      {
        what: 'the only build counts although it was cancelled',
        known: [[1, null]],
        traced: [ours('a', 1, 'cancelled')],
        bound: ['1:a'],
        extra: [],
      },
      {
        what: 'an extra that has ended is left alone',
        known: [[1, 'a']],
        traced: [ours('a', 1), ours('b', 1, 'success')],
        bound: [],
        extra: [],
      },
      {
        what: 'a rebuild is the next attempt',
        known: [[1, 'a']],
        traced: [ours('a', 1, 'failed'), rebuild('r', 'a')],
        bound: ['2:r'],
        extra: [],
      },
      {
        what: 'a rebuild of a rebuild too',
        known: [[1, 'a']],
        traced: [ours('a', 1), rebuild('r', 'a'), rebuild('s', 'r')],
        bound: ['2:r', '3:s'],
        extra: [],
      },
      {
        what: 'a rebuild between two of ours keeps its number',
        known: [[1, 'a']],
        traced: [ours('a', 1), rebuild('r', 'a'), ours('c', 3)],
        bound: ['3:c', '2:r'],
        extra: [],
      },
      {
        what: 'one whose number a newer one of ours has decides nothing',
        known: [[1, 'a']],
        traced: [ours('a', 1), rebuild('r', 'a'), ours('b', 2)],
        bound: ['2:b'],
        extra: [],
      },
      {
        what: 'an attempt that was only planned is stepped over',
        known: [
          [1, 'a'],
          [2, null],
        ],
        traced: [ours('a', 1), rebuild('r', 'a')],
        bound: ['3:r'],
        extra: [],
      },
      {
        what: 'a rebuild of something else is nobody’s',
        known: [[1, 'a']],
        traced: [ours('a', 1), rebuild('r', 'x')],
        bound: [],
        extra: [],
      },
    ],
  )('$what', ({ known, traced, bound, extra }) => {
    const rows = known.map(([attempt, build]) => ({ attempt, build }));
    expect(places(placeBuilds(rows, traced))).toEqual([bound, extra]);
  });
});

describe('what is known of a job then', () => {
  const ended = hear(bind(newJob(), 1, 'a'), 'a', { epoch: 0, status: 'failed', by: 'ci', at: 5 });
  const left = (status: Status) => ({ status, at: 5_000 });

  test('the newest attempt is the present one, and a read must say where it stands', () => {
    const job = recalled(
      ended,
      [
        { attempt: 1, build: 'a' },
        { attempt: 2, build: 'b' },
      ],
      left('success'),
    );
    expect(standing(job)).toMatchObject({ attempt: 2, status: 'pending' });
    expect(job.bound).toEqual({ 1: 'a', 2: 'b' });
  });

  test('an end counts where no build can tell, or when it was our own deadline', () => {
    expect(standing(recalled(undefined, [], left('cancelled')))).toMatchObject({ status: 'cancelled', by: 'self' });
    expect(standing(recalled(undefined, [{ attempt: 1, build: 'a' }], left('cancelled'))).status).toBe('pending');
    expect(standing(recalled(undefined, [{ attempt: 1, build: 'a' }], left('timeout'))).status).toBe('timeout');
    expect(standing(recalled(ended, [{ attempt: 1, build: 'a' }], left('timeout'))).status).toBe('failed');
    expect(standing(recalled(undefined, [], left('running'))).status).toBe('pending');
  });

  test('an end is none of a build that was made after the workflow had closed', () => {
    const bound = (madeAt: number) => [
      { attempt: 1, build: 'a', madeAt: 1_000 },
      { attempt: 2, build: 'b', madeAt },
    ];
    expect(standing(recalled(undefined, bound(4_000), left('timeout')))).toMatchObject({
      attempt: 2,
      status: 'timeout',
    });
    expect(standing(recalled(undefined, bound(6_000), left('timeout')))).toMatchObject({
      attempt: 2,
      status: 'pending',
    });
  });

  test('an attempt that was given out and has no build is the present one, and was stopped if somebody asked for it', () => {
    const bound = [{ attempt: 1, build: 'a' }];
    const planned = (stopped: boolean) => standing(recalled(ended, bound, undefined, { attempt: 2, stopped }));
    expect(planned(false)).toMatchObject({ attempt: 2, status: 'pending' });
    expect(planned(true)).toMatchObject({ attempt: 2, status: 'cancelled', error: expect.stringMatching('restored') });
    const later = [...bound, { attempt: 3, build: 'c' }];
    expect(standing(recalled(ended, later, undefined, { attempt: 2, stopped: true }))).toMatchObject({
      attempt: 3,
      status: 'pending',
    });
  });

  test('nothing that was known is forgotten, however often it is recalled', () => {
    const more = say(ended, { attempt: 3, epoch: 2, status: 'pending', by: 'self', at: 0 });
    const once = recalled(more, [{ attempt: 1, build: 'a' }], undefined);
    expect(once).toEqual(more);
    expect(recalled(once, [{ attempt: 1, build: 'a' }], undefined)).toEqual(once);
  });
});
