/** What the shell is told: 0 is done. */
export const exitCodes = { failed: 1, usage: 2, waiting: 3, interrupted: 130, terminated: 143 } as const;

/** A command could not do what it was asked. The message is a sentence for the person who asked. */
export class CommandError extends Error {
  override name = 'CommandError';
  readonly exitCode: number;

  constructor(message: string, exitCode: number = exitCodes.failed, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

/** What was typed cannot be meant. */
export const usageError = (message: string): CommandError => new CommandError(message, exitCodes.usage);

/** What went wrong. A failed connection to a name with several addresses has its reasons one level down. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ');
  return error instanceof Error ? error.message : String(error);
}
