/** An answer that is not a success: status and JSON body, thrown by a route. */
export class Refusal extends Error {
  readonly status: number;
  readonly body: Record<string, unknown>;

  constructor(status: number, message: string, more: Record<string, unknown> = {}) {
    super(message);
    this.status = status;
    this.body = { message, ...more };
  }
}

/** The 422 of a body that lacks fields or has wrong ones. */
export const invalid = (errors: readonly { field: string; code: string }[]): Refusal =>
  new Refusal(422, 'Validation Failed', { errors });
