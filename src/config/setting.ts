import type { Form } from './forms.ts';

export const groups = [
  'Identity',
  'Addresses',
  'Storage',
  'Network',
  'Limits',
  'Behaviour',
  'Buildkite',
  'Logs',
  'Timing',
] as const;

/** One variable of the environment, described well enough to read it, to print it and to document it. */
export interface Setting {
  readonly name: `WHORL_${string}`;
  readonly group: (typeof groups)[number];
  readonly form: Form<unknown>;
  /** As an operator would write it. */
  readonly default?: string;
  readonly required?: true;
  /** Never printed; may also be given as a file, by the name with `_FILE` at its end. */
  readonly secret?: true;
  /** What may be shown of a secret; nothing when absent. */
  readonly hide?: (raw: string) => string;
  /** Markdown. */
  readonly description: string;
  readonly example: string;
  readonly alias?: Alias;
}

/** A name of tack's, with tack's meaning. */
export interface Alias {
  readonly name: `TACK_${string}`;
  /** Where tack reads it differently. */
  readonly form?: Form<unknown>;
  readonly note?: string;
}
