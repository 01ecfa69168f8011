import type postgres from 'postgres';
import { secondsSince } from '../metrics/bounded.ts';
import { beginning } from './transaction.ts';
import { statementErrors, statements } from '../metrics/index.ts';

/**
 * The server has not answered in the time that it allows itself. Counts as unavailable: what a client may repeat, it
 * repeats.
 */
export class NeverAnswered extends Error {
  override name = 'NeverAnswered';
  readonly code = 'CONNECTION_TIMEOUT';

  constructor(ms: number) {
    super(`the database gave no answer within ${ms / 1000} s; the connection may be broken`);
  }
}

/**
 * Puts a limit on each statement, and makes transactions safe. postgres.js has none of its own, and leaves some unanswered for ever when their
 * connection breaks (seen when the server ends it); whoever waits for one would be stuck without anybody noticing.
 * The statement itself may still be carried out, as with every answer that is lost.
 */
export function answered<T extends postgres.Sql<{ bigint: bigint }>>(sql: T, ms: number): T {
  const begin = beginning(sql);
  return new Proxy(sql, {
    get: (target, name) => (name === 'begin' ? begin : (Reflect.get(target, name) as unknown)),
    apply(target, self, args: unknown[]) {
      const made: unknown = Reflect.apply(target as unknown as (...all: unknown[]) => unknown, self, args);
      return isStatement(made) ? limited(made, ms) : made;
    },
  });
}

interface Statement {
  then(resolve: (value: unknown) => unknown, reject: (error: unknown) => unknown): unknown;
}

/** A statement, or a part of one; what helps to write one is no promise. */
const isStatement = (made: unknown): made is Statement => made instanceof Promise;

/** The first two letters of an SQLSTATE; `client` for what the server did not say. */
function classOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && /^\d|^[FHPX]/.test(code)
    ? code.slice(0, 2)
    : 'client';
}

/** A statement is sent when somebody waits for it, so the time begins then; a part of another one never is. */
function limited(statement: Statement, ms: number): Statement {
  const then = statement.then.bind(statement);
  return Object.assign(statement, {
    // oxlint-disable-next-line unicorn/no-thenable -- it is a promise already
    then: (resolve: (value: unknown) => unknown, reject: (error: unknown) => unknown) =>
      new Promise((done, failed) => {
        const began = performance.now();
        const fail = (error: unknown): void => {
          statementErrors.inc({ class: classOf(error) });
          failed(error);
        };
        const timer = setTimeout(() => fail(new NeverAnswered(ms)), ms);
        timer.unref();
        const settle =
          (end: (value: unknown) => void) =>
          (value: unknown): void => {
            clearTimeout(timer);
            statements.observe(secondsSince(began));
            end(value);
          };
        then(settle(done), settle(fail));
      }).then(resolve, reject),
  });
}
