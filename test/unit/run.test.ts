import { describe, expect, test } from 'vitest';
import { standing } from '../../src/pipeline/job.ts';
import type { Observation } from '../../src/pipeline/words.ts';
import type { Shown } from '../../src/workflows/contract.ts';
import {
  bound,
  newRun,
  observe,
  settleHeld,
  takeOver,
  showKey,
  takeUp,
  keep,
  toShow,
  speak,
  toRead,
} from '../../src/workflows/run.ts';

const at = (now: number) => ({ epoch: 0, now, unsure: 1_000 });
const failed: Observation = { build: 'b1', status: 'failed', at: 5_000, unsure: true };

describe('a failure that only a read can explain', () => {
  test('asks for the read and is not believed before', () => {
    const run = newRun({ name: 'ci.yml' }, 0, 1_000);
    bound(run, 1, 'b1');
    observe(run, failed, 'notice', at(100));
    expect(run.wantRead).toBe(true);
    expect(standing(run.job).status).toBe('pending');
  });

  test('is taken as told when the read does not come in time', () => {
    const run = newRun({ name: 'ci.yml' }, 0, 1_000);
    bound(run, 1, 'b1');
    observe(run, failed, 'notice', at(100));
    settleHeld(run, 0, 1_000);
    expect(standing(run.job).status).toBe('pending');
    settleHeld(run, 0, 1_100);
    expect(standing(run.job).status).toBe('failed');
    expect(run.held).toEqual({});
  });

  test('is not held for ever when it contradicts an end, which only a read may do', () => {
    const run = newRun({ name: 'ci.yml' }, 0, 1_000);
    bound(run, 1, 'b1');
    observe(run, { build: 'b1', status: 'success', at: 1_000 }, 'read', at(0));
    observe(run, failed, 'notice', at(100));
    settleHeld(run, 0, 5_000);
    expect(run.held).toEqual({});
    expect(standing(run.job).status).toBe('success');
    expect(run.wantRead).toBe(true);
  });

  test('of a build that is not bound yet is read when it is', () => {
    const run = newRun({ name: 'ci.yml' }, 0, 1_000);
    observe(run, failed, 'notice', at(100));
    expect(run.wantRead).toBe(false);
    bound(run, 1, 'b1');
    expect(run.wantRead).toBe(true);
  });

  test('is not forgotten for an older notice that comes after it', () => {
    const run = newRun({ name: 'ci.yml' }, 0, 1_000);
    observe(run, failed, 'notice', at(100));
    observe(run, { build: 'b1', status: 'running', at: 0 }, 'notice', at(110));
    bound(run, 1, 'b1');
    expect(run.wantRead).toBe(true);
    observe(run, { build: 'b1', status: 'failed', at: 5_000 }, 'read', at(120));
    expect(run.held).toEqual({});
    expect(standing(run.job).status).toBe('failed');
  });
});

test('a rebuild that ended before it was taken over has ended, also when its origin went on meanwhile', () => {
  const run = newRun({ name: 'ci.yml' }, 0, 1_000);
  bound(run, 1, 'b1');
  observe(run, { build: 'b1', status: 'failed', at: 1_000 }, 'read', at(0));
  observe(run, { build: 'b2', status: 'success', at: 9_000 }, 'notice', at(10));
  observe(run, { build: 'b1', status: 'success', at: 8_000 }, 'read', { ...at(20), epoch: 1 });
  expect(standing(run.job)).toMatchObject({ attempt: 1, epoch: 1, status: 'success' });
  takeOver(run, 2, 'b2');
  bound(run, 2, 'b2');
  expect(standing(run.job)).toMatchObject({ attempt: 2, status: 'success' });
});

test('what an earlier attempt does asks for nothing any more', () => {
  const run = newRun({ name: 'ci.yml' }, 0, 1_000);
  bound(run, 1, 'b1');
  observe(run, { build: 'b1', status: 'failed', at: 1_000 }, 'read', at(0));
  bound(run, 2, 'b2');
  observe(run, { build: 'b2', status: 'running', at: 0 }, 'read', at(0));
  observe(run, { build: 'b1', status: 'running', at: 0 }, 'notice', at(10));
  expect(run.wantRead).toBe(false);
  expect(standing(run.job)).toMatchObject({ attempt: 2, status: 'running' });
});

test('a read that was wanted does not keep a job open whose new attempt never got a build', () => {
  const run = newRun({ name: 'ci.yml' }, 0, 1_000);
  bound(run, 1, 'b1');
  observe(run, { build: 'b1', status: 'failed', at: 1_000 }, 'read', at(0));
  observe(run, { build: 'b1', status: 'running', at: 0 }, 'notice', at(10));
  expect(toRead(run)).toBe('b1');
  speak(run, 2, 'cancelled', 'Cancelled by somebody.');
  expect(toRead(run)).toBeUndefined();
});

test('a file that is wrong fails at once, with the sentence for its author', () => {
  const run = newRun({ name: 'ci.yml', refusal: 'ci.yml is not valid YAML.' }, 0, 1_000);
  expect(toShow(run)).toMatchObject({ attempt: 1, status: 'failed', error: 'ci.yml is not valid YAML.' });
});

test('a job that waits for the operator is pending, and says why', () => {
  const run = newRun({ name: 'ci.yml' }, 0, 1_000);
  run.parked = { step: 'create', cause: 'CredentialsRejected', message: 'The token is not accepted.', since: 0 };
  expect(toShow(run)).toMatchObject({
    status: 'pending',
    error: expect.stringMatching(/operator.*token is not accepted/),
  });
});

test('what was published is not published again by the next opening', () => {
  const first = newRun({ name: 'ci.yml' }, 0, 1_000);
  bound(first, 1, 'b1');
  observe(first, { build: 'b1', status: 'success', at: 1_000 }, 'read', at(0));
  const again = newRun({ name: 'ci.yml', kept: keep(first) }, 9_000, 1_000);
  expect(standing(again.job)).toEqual(standing(first.job));
  const shown = again.shown;
  takeUp(again, keep(first));
  expect(again.shown).toBe(shown);
  expect(shown).toContain('success');
});

test('an end that is kept and was never shown is shown by the next opening; what goes on waits until the CI was asked', () => {
  const first = newRun({ name: 'ci.yml' }, 0, 1_000);
  bound(first, 1, 'b1');
  observe(first, { build: 'b1', status: 'running', at: 0 }, 'read', at(0));
  const shown = { attempt: 1, epoch: 0, status: 'pending' } as const;
  const isNews = (told: Shown | null): boolean => {
    const again = newRun({ name: 'ci.yml' }, 9_000, 1_000);
    takeUp(again, keep(first), told);
    return again.shown !== showKey(toShow(again), again.note);
  };
  expect(isNews(null)).toBe(false);
  expect(isNews(shown)).toBe(false);

  observe(first, { build: 'b1', status: 'success', at: 1_000 }, 'read', at(0));
  expect(isNews(null)).toBe(true);
  expect(isNews(shown)).toBe(true);
  expect(isNews({ ...shown, status: 'success' })).toBe(false);
});
