/**
 * The classes of failure, used as `ApplicationFailure` types, as causes of a parked step and in logs.
 * What each leads to is said once, here.
 */
export const failures = {
  RateLimited: 'retry',
  Transient: 'retry',
  CredentialsRejected: 'park',
  TargetMissing: 'park',
  Forbidden: 'park',
  InvalidDefinition: 'fail',
  Internal: 'park',
} as const;

export type Failure = keyof typeof failures;

/** The failure class that a type names; anything unknown is `Internal`. */
export const failureOf = (type: string | null | undefined): Failure =>
  type && type in failures ? (type as Failure) : 'Internal';
