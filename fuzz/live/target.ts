import type fc from 'fast-check';
import type { LiveSpindle } from './spindle.ts';

/** A door of a running spindle, and what is thrown at it. */
export interface LiveTarget {
  name: string;
  about: string;
  weight: number;
  inputs: fc.Arbitrary<Buffer>;
  /** Throws what is wrong with the answer. */
  run(spindle: LiveSpindle, input: Buffer): Promise<void>;
  /** Looks, after some inputs, whether what is right is still taken; throws when it is not. */
  check(spindle: LiveSpindle): Promise<void>;
}

/** What is right is to be answered within this, ms. On a busy machine once in a while it is not, so it is asked again. */
export const promptMs = 1_000;
