/** One thing that is wrong with the configuration. */
export interface Problem {
  /** The variable, as the operator wrote it. */
  readonly name: string;
  /** What is wrong, to be read after the name: `must be …`, `is not set …`. Never holds a secret. */
  readonly wrong: string;
  /** A line that would be right. */
  readonly example?: string;
}

/** The configuration cannot be used. The message lists every problem, so that one look is enough to repair them all. */
export class ConfigError extends Error {
  readonly code = 'WHORL_CONFIG';
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    const count = problems.length === 1 ? 'one problem' : `${problems.length} problems`;
    super(`The configuration has ${count}:\n${problems.map(describe).join('\n')}`);
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

function describe({ name, wrong, example }: Problem): string {
  const line = `  ${name} ${wrong}`;
  return example ? `${line}\n      for example: ${example}` : line;
}
