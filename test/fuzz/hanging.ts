import fc from 'fast-check';
import type { Target } from '../../fuzz/target.ts';

const base = { about: '', weight: 1 };

/** One that never comes back from an input, and one that is fine. */
export const pureTargets: readonly Target[] = [
  {
    ...base,
    name: 'hangs',
    inputs: fc.constantFrom('soon', 'for ever').map((text) => Buffer.from(text)),
    run(input) {
      while (input.toString() === 'for ever');
    },
  },
  { ...base, name: 'fine', inputs: fc.constant(Buffer.from('x')), run() {} },
];
