import type { Failure } from '../pipeline/failures.ts';

/** What went wrong at a provider, in the classes that the whole house knows. */
export class ProviderError extends Error {
  readonly failure: Failure;
  /** When to come back, if the CI said so; by `steadyNow`. */
  readonly retryAt: Date | undefined;
  /** The request may have been carried out all the same (time-out, reset, 5xx after a POST). */
  readonly ambiguous: boolean;

  constructor(failure: Failure, message: string, extra: { retryAt?: Date; ambiguous?: boolean; cause?: unknown } = {}) {
    super(message, extra.cause === undefined ? {} : { cause: extra.cause });
    this.name = failure;
    this.failure = failure;
    this.retryAt = extra.retryAt;
    this.ambiguous = extra.ambiguous ?? false;
  }
}
