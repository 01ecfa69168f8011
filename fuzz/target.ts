import type fc from 'fast-check';

/** A parser, or a few that belong together, and what it is fed with. */
export interface Target {
  name: string;
  /** What it shows, in a few words. */
  about: string;
  /** Its share of the runs. */
  weight: number;
  /** Real inputs, changed. Everything that an input holds is in its bytes, so that they can be stored and given again. */
  inputs: fc.Arbitrary<Buffer>;
  /** Feeds it. Whatever it throws is a finding; an error that is documented is caught here. */
  run(input: Buffer): void | Promise<void>;
}

/** What a target finds wrong that is no error of the program's. */
export class Broken extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'Broken';
  }
}

/** Holds, or is a finding. */
export function expect(holds: boolean, message: () => string): asserts holds {
  if (!holds) throw new Broken(message());
}
