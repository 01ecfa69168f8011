import { ApplicationFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { expect, onTestFinished, test, vi } from 'vitest';
import { withFailures } from '../../src/activities/failures.ts';
import { secretMask } from '../../src/activities/mask.ts';
import { ProviderError } from '../../src/providers/errors.ts';
import { steadyNow } from '../../src/steady.ts';

const secret = 'bkua-0123456789';

/** What an activity that fails so tells Temporal, causes and all. */
async function told(error: Error): Promise<ApplicationFailure> {
  const { work } = withFailures(
    {
      work: async (_input: never): Promise<unknown> => {
        throw error;
      },
    },
    { mask: secretMask(() => [secret]) },
  );
  const failure: unknown = await new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR', () => {}) })
    .run(work, undefined as never)
    .catch((caught) => caught);
  if (failure instanceof ApplicationFailure) return failure;
  throw new Error(`not a failure with a type: ${String(failure)}`);
}

const everything = (error: unknown): string =>
  error instanceof Error ? [error.message, error.stack, everything(error.cause)].join('\n') : String(error);

test('a failure says what went wrong, and keeps its cause', async () => {
  const cause = new ProviderError('Forbidden', 'The CI does not let the token do this.');
  expect(await told(cause)).toMatchObject({ type: 'Forbidden', nonRetryable: true, message: cause.message, cause });
});

test.each([
  ['what a CI answered', new ProviderError('Transient', `The CI said: no such token ${secret}`)],
  ['what nobody foresaw', new Error(`bad header Bearer ${secret}`)],
  ['why it failed', new ProviderError('Transient', 'The CI is away', { cause: new Error(`GET ?token=${secret}`) })],
])('no secret is in a failure: %s', async (_, error) => {
  const failure = await told(error);
  expect(everything(failure)).not.toContain(secret);
  expect(failure.message).not.toBe('');
});

test('a wait stays as long as the CI said when the clock of the machine is set back meanwhile', async () => {
  const retryAt = new Date(steadyNow() + 3_000);
  const later = Date.now() - 3_600_000;
  const clock = vi.spyOn(Date, 'now').mockReturnValue(later);
  onTestFinished(() => clock.mockRestore());
  const failure = await told(new ProviderError('RateLimited', 'The budget is used up.', { retryAt }));
  expect(Number(failure.nextRetryDelay)).toBeGreaterThan(1_000);
  expect(Number(failure.nextRetryDelay)).toBeLessThanOrEqual(3_000);
});
