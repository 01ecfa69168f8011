import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { attemptOf, bind, hear, interpret, type Job, merge, newJob, say, standing } from '../../src/pipeline/job.ts';
import { isNews } from '../../src/pipeline/news.ts';
import { isEnd, rankOf, statuses } from '../../src/pipeline/status.ts';
import { compareFacts, type Fact, type Observation, type Word } from '../../src/pipeline/words.ts';

/** What can happen to a job's state; each is something that the pipeline may learn at any time, any number of times. */
type Step =
  | { kind: 'say'; fact: Fact }
  | { kind: 'hear'; build: string; word: Word }
  | { kind: 'bind'; attempt: number; build: string };

const apply = (job: Job, step: Step): Job => {
  if (step.kind === 'say') return say(job, step.fact);
  if (step.kind === 'hear') return hear(job, step.build, step.word);
  return bind(job, step.attempt, step.build);
};
const fold = (steps: readonly Step[]): Job => steps.reduce(apply, newJob());

const status = fc.constantFrom(...statuses);
const at = fc.integer({ min: 0, max: 5 }).map((n) => n * 1000);
const error = fc.option(fc.constantFrom('it broke', 'waiting for approval'), { nil: undefined });
const optional = <T>(key: string, value: T | undefined) => (value === undefined ? {} : { [key]: value });
const word = fc
  .record({ epoch: fc.nat(2), status, at, error, exitCode: fc.option(fc.nat(3), { nil: undefined }) })
  .map(({ error: text, exitCode, ...rest }): Word => ({
    ...rest,
    by: 'ci',
    ...optional('error', text),
    ...optional('exitCode', exitCode),
  }));
const attempt = fc.integer({ min: 1, max: 3 });
const fact = fc
  .record({ attempt, epoch: fc.nat(2), status, error })
  .map(({ error: text, ...rest }): Fact => ({ ...rest, by: 'self', at: 0, ...optional('error', text) }));
// Attempt n runs as build n or is not bound: the database sees to it that there is one binding for each attempt.
const step: fc.Arbitrary<Step> = fc.oneof(
  fact.map((value): Step => ({ kind: 'say', fact: value })),
  fc
    .record({ build: fc.constantFrom('b1', 'b2', 'b3', 'stranger'), word })
    .map((value): Step => ({ kind: 'hear', ...value })),
  attempt.map((n): Step => ({ kind: 'bind', attempt: n, build: `b${n}` })),
);

describe('facts fold to the same end', () => {
  test('in any order', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 14 }).chain((steps) => fc.tuple(fc.constant(steps), shuffled(steps))),
        ([steps, other]) => {
          expect(fold(other)).toEqual(fold(steps));
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('however often each comes', () => {
    fc.assert(
      fc.property(
        fc
          .array(step, { maxLength: 8 })
          .chain((steps) => fc.tuple(fc.constant(steps), shuffled([...steps, ...steps, ...steps]))),
        ([steps, repeated]) => {
          expect(standing(fold(repeated))).toEqual(standing(fold(steps)));
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('when two places learn different halves and put them together', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 8 }), fc.array(step, { maxLength: 8 }), (left, right) => {
        expect(standing(merge(fold(left), fold(right)))).toEqual(standing(fold([...left, ...right])));
      }),
    );
  });
});

test('a standing never goes down in attempt, epoch and rank', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      let job = newJob();
      for (const next of steps) {
        const before = standing(job);
        job = apply(job, next);
        expect(compareFacts(standing(job), before)).toBeGreaterThanOrEqual(0);
      }
    }),
  );
});

test('what is said about a build that is not bound counts for nothing, until it is bound', () => {
  const success: Word = { epoch: 0, status: 'success', by: 'ci', at: 1000 };
  const heard = hear(newJob(), 'copycat', success);
  expect(standing(heard).status).toBe('pending');
  expect(standing(bind(heard, 1, 'ours')).status).toBe('pending');
  expect(standing(bind(heard, 1, 'copycat')).status).toBe('success');
});

test('builds that nobody bound are remembered only up to a limit, and ours always', () => {
  let job = bind(newJob(), 1, 'ours');
  for (let n = 0; n < 100; n += 1) job = hear(job, `copycat ${n}`, { epoch: 0, status: 'failed', by: 'ci', at: 1 });
  job = hear(job, 'ours', { epoch: 0, status: 'success', by: 'ci', at: 1 });
  expect(Object.keys(job.builds).length).toBeLessThan(12);
  expect(standing(job).status).toBe('success');
});

test("the CI's word counts more than our own time-out, and an end more than a word that it runs", () => {
  const job = bind(say(newJob(), { attempt: 1, epoch: 0, status: 'timeout', by: 'self', at: 0 }), 1, 'b1');
  expect(standing(hear(job, 'b1', { epoch: 0, status: 'running', by: 'ci', at: 0 })).status).toBe('timeout');
  expect(standing(hear(job, 'b1', { epoch: 0, status: 'success', by: 'ci', at: 9 })).status).toBe('success');
});

describe('an end that is contradicted', () => {
  const ended = hear(bind(newJob(), 1, 'b1'), 'b1', { epoch: 0, status: 'failed', by: 'ci', at: 5000 });
  const runs: Observation = { build: 'b1', status: 'running', at: 0 };

  test('by a notice is read first', () => {
    expect(interpret(ended, runs, 'notice', 0)).toEqual({ kind: 'read' });
  });

  test('by a read is opened again, in the next epoch', () => {
    const meaning = interpret(ended, runs, 'read', 0);
    expect(meaning).toMatchObject({ kind: 'word', word: { epoch: 1, status: 'running', after: 5000 } });
  });

  test('and opened again is not ended by a late copy of its first end, but by its second', () => {
    const meaning = interpret(ended, runs, 'read', 0);
    const open = meaning.kind === 'word' ? hear(ended, 'b1', meaning.word) : ended;
    expect(standing(open).status).toBe('running');
    expect(interpret(open, { build: 'b1', status: 'failed', at: 5000 }, 'notice', 1)).toEqual({ kind: 'old' });
    const second = interpret(open, { build: 'b1', status: 'success', at: 9000 }, 'notice', 1);
    expect(second).toMatchObject({ kind: 'word', word: { epoch: 1, status: 'success' } });
    const again = second.kind === 'word' ? hear(open, 'b1', second.word) : open;
    expect(standing(again)).toMatchObject({ status: 'success', epoch: 1 });
  });

  test('is read first and opened again when it is another, later end: else a third like the first could not be told', () => {
    const later: Observation = { build: 'b1', status: 'success', at: 9000 };
    expect(interpret(ended, later, 'notice', 0)).toEqual({ kind: 'read' });
    expect(interpret(ended, later, 'read', 0)).toMatchObject({ kind: 'word', word: { epoch: 1, after: 5000 } });
  });

  test('is not contradicted by the same end with its milliseconds', () => {
    expect(interpret(ended, { build: 'b1', status: 'failed', at: 5999, exitCode: 1 }, 'read', 0)).toMatchObject({
      word: { epoch: 0 },
    });
  });

  test('uses the epoch that the pipeline is in already', () => {
    expect(interpret(ended, runs, 'read', 4)).toMatchObject({ word: { epoch: 4 } });
  });
});

test('observations of one life of a build, in any order, end where that life ended', () => {
  const life: Observation[] = [
    { build: 'b1', status: 'pending', at: 0 },
    { build: 'b1', status: 'running', at: 0 },
    { build: 'b1', status: 'running', at: 0, error: 'waiting for approval' },
    { build: 'b1', status: 'failed', at: 7000, exitCode: 2 },
  ];
  fc.assert(
    fc.property(shuffled([...life, ...life]), fc.nat(8), (notices, bound) => {
      let job = newJob();
      notices.forEach((seen, n) => {
        if (n === bound) job = bind(job, 1, 'b1');
        const meaning = interpret(job, seen, 'notice', 0);
        if (meaning.kind === 'word') job = hear(job, seen.build, meaning.word);
      });
      job = bind(job, 1, 'b1');
      expect(standing(job)).toEqual({ attempt: 1, epoch: 0, by: 'ci', status: 'failed', at: 7000, exitCode: 2 });
    }),
  );
});

describe('news for a job that has ended', () => {
  const ended = hear(bind(newJob(), 1, 'b1'), 'b1', { epoch: 0, status: 'failed', by: 'ci', at: 5400 });
  const cases: [string, Observation, boolean][] = [
    ['a copy of the end, with its time in whole seconds', { build: 'b1', status: 'failed', at: 5000 }, false],
    ['a copy that does not tell failures apart', { build: 'b1', status: 'failed', at: 5000, unsure: true }, false],
    ['a build that runs', { build: 'b1', status: 'running', at: 0 }, true],
    ['a later end', { build: 'b1', status: 'success', at: 9000 }, true],
    ['a later end with the same word', { build: 'b1', status: 'failed', at: 9000 }, true],
    ['an earlier end', { build: 'b1', status: 'success', at: 2000 }, false],
    ['a build that is not ours', { build: 'other', status: 'running', at: 0 }, false],
  ];
  test.each(cases)('%s', (_name, seen, news) => {
    expect(isNews(ended, seen)).toBe(news);
  });
});

test('ranks', () => {
  expect(statuses.map(rankOf)).toEqual([0, 1, 2, 2, 2, 2]);
  expect(statuses.filter(isEnd)).toEqual(['success', 'failed', 'timeout', 'cancelled']);
  expect(attemptOf(bind(newJob(), 2, 'b2'), 'b2')).toBe(2);
});

function shuffled<T>(items: readonly T[]): fc.Arbitrary<T[]> {
  return fc.shuffledSubarray([...items], { minLength: items.length, maxLength: items.length });
}
