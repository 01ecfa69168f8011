import type { Invariant } from './finding.ts';

/** 8: what other code began, today's code goes on with. */
export const replays: Invariant = {
  number: 8,
  name: 'Recorded histories replay on the code of today.',
  look: ({ evidence }) => ({
    checked: evidence.replays.length,
    findings: evidence.replays.flatMap(({ name, error }) =>
      error === undefined ? [] : [{ kind: 'replay', text: `${name}: ${error}` }],
    ),
  }),
};
