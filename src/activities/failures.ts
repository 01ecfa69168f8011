import { ApplicationFailure, activityInfo, CancelledFailure } from '@temporalio/activity';
import { failures } from '../pipeline/failures.ts';
import { ProviderError } from '../providers/errors.ts';
import { isUnavailable } from '../store/db.ts';
import { steadyNow } from '../steady.ts';
import type { Mask } from './mask.ts';

/** An error that nobody foresaw is tried this often before its step is parked. */
const internalTries = 5;

/**
 * The one border where errors become typed failures: what passes by itself is retried, at the time that the CI gave if
 * it gave one; what a person must mend is not. What failures say is kept in histories and shown to people, so secrets are
 * hidden in it.
 */
export function asFailure(error: unknown, tries = internalTries, mask: Mask = (text) => text): Error {
  if (error instanceof ApplicationFailure || error instanceof CancelledFailure) return error;
  if (error instanceof ProviderError) {
    const retry = failures[error.failure] === 'retry';
    return ApplicationFailure.create({
      message: mask(error.message),
      type: error.failure,
      nonRetryable: !retry,
      ...causeOf(error, mask),
      ...(retry && error.retryAt ? { nextRetryDelay: Math.max(1, error.retryAt.getTime() - steadyNow()) } : {}),
    });
  }
  const message = mask(error instanceof Error ? error.message : String(error));
  if (isUnavailable(error))
    return ApplicationFailure.retryable(`The database is not available: ${message}`, 'Transient');
  return ApplicationFailure.create({
    message,
    type: 'Internal',
    nonRetryable: activityInfo().attempt >= tries,
    ...(error instanceof Error ? causeOf(error, mask) : {}),
  });
}

/** Its stack helps whoever looks for the fault, unless it says what must not be seen. */
function causeOf(error: Error, mask: Mask): { cause?: Error } {
  const told = [error.message, error.stack ?? '', String(error.cause)].join('\n');
  return mask(told) === told ? { cause: error } : {};
}

/** Wraps every activity of a set, so that whatever it throws has a type. `tries`: of errors that nobody foresaw. */
export function withFailures<T extends Record<string, (input: never) => Promise<unknown>>>(
  activities: T,
  { tries = internalTries, mask = () => (text) => text }: { tries?: number; mask?: () => Mask } = {},
): T {
  const wrap =
    (activity: (input: never) => Promise<unknown>) =>
    async (input: never): Promise<unknown> => {
      try {
        return await activity(input);
      } catch (error) {
        throw asFailure(error, tries, mask());
      }
    };
  return Object.fromEntries(Object.entries(activities).map(([name, activity]) => [name, wrap(activity)])) as T;
}
