/** The families of checks, as `--only` names them, in the order in which they are shown. */
export const groups = [
  'config',
  'database',
  'temporal',
  'ingest',
  'knots',
  'network',
  'ci',
  'public',
  'webhooks',
  'work',
  'storage',
] as const;

export type Group = (typeof groups)[number];

/** Requests that a full look makes of the CI. */
export const requestsOfCi = 2;
