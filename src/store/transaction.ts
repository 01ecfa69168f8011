import type postgres from 'postgres';

type Sql = postgres.Sql<{ bigint: bigint }>;
type Tx = postgres.TransactionSql<{ bigint: bigint }>;
type Work = (tx: Tx) => unknown;

/** The connection of a transaction is gone, so PostgreSQL has rolled it back, or will. */
export class TransactionLost extends Error {
  override name = 'TransactionLost';
  readonly code = 'CONNECTION_CLOSED';
}

/** Codes of errors after which there is no connection. */
const gone = /^(?:CONNECT(?:ION)?_\w+|E(?:CONN\w+|PIPE|TIMEDOUT|HOSTUNREACH|NETUNREACH|NETDOWN))$/;

const isGone = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' && gone.test(error.code);

/**
 * `sql.begin`, but nothing more is sent in a transaction whose connection is gone. postgres.js sends a rollback, a commit
 * or the next statement all the same: to no socket, which ends the process; or, when the connection was made anew
 * meanwhile, into whatever somebody else does there.
 */
export function beginning(sql: Sql): Sql['begin'] {
  const begin = async (...given: [Work] | [string, Work]): Promise<unknown> => {
    const work = given.at(-1) as Work;
    const options = given.length > 1 ? String(given[0]) : '';
    const lost = Promise.withResolvers<never>();
    let isOver = false;
    // Never told of its end, postgres.js does nothing more.
    const leave = (error: unknown): Promise<never> => {
      lost.reject(error);
      return new Promise(() => {});
    };
    const whole = sql.begin(options, async (tx) => {
      try {
        const value = await work(guarded(tx, () => isOver));
        return isOver ? await leave(new TransactionLost('the connection was lost')) : value;
      } catch (error) {
        if (!isOver && !isGone(error)) throw error;
        return leave(error);
      }
    });
    whole.catch(() => {});
    lost.promise.catch(() => {});
    try {
      return await Promise.race([whole, lost.promise]);
    } finally {
      isOver = true;
    }
  };
  return begin as Sql['begin'];
}

/** A statement in a transaction that is over throws. */
function guarded(tx: Tx, isOver: () => boolean): Tx {
  const check = (): void => {
    if (isOver()) throw new TransactionLost('the transaction is over: its connection was lost');
  };
  return new Proxy(tx, {
    apply(target, self, args: unknown[]) {
      check();
      return Reflect.apply(target as unknown as (...all: unknown[]) => unknown, self, args) as unknown;
    },
    get(target, name) {
      check();
      return Reflect.get(target, name) as unknown;
    },
  });
}
