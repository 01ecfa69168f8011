import postgres from 'postgres';
import { answered } from './answered.ts';
import { sockets } from './socket.ts';

/** PostgreSQL's int8 is a bigint here: cursors count nanoseconds, which a number cannot hold. */
export type Sql = postgres.Sql<{ bigint: bigint }>;
/** The same inside of `sql.begin`. */
export type Tx = postgres.TransactionSql<{ bigint: bigint }>;
export type Database = Sql;

export type DatabaseOptions = {
  /** connections at most; default 10 */
  max?: number | undefined;
  /** what `pg_stat_activity` shows; default `whorl` */
  applicationName?: string | undefined;
  /** default 10 s */
  connectTimeoutMs?: number | undefined;
  /** after this the server gives up on one statement; default 30 s */
  statementTimeoutMs?: number | undefined;
  /** after this the client gives up on one; default 5 s more */
  answerTimeoutMs?: number | undefined;
  /** a notice of the server; default: dropped */
  onNotice?: ((message: string) => void) | undefined;
};

/** Opens a pool of connections; none is made before the first statement. Close it with `end()`. */
export function openDatabase(url: string, options: DatabaseOptions = {}): Database {
  const { onNotice, statementTimeoutMs = 30_000, answerTimeoutMs = statementTimeoutMs + 5_000 } = options;
  // Its types do not have this option. A little before the statement's own limit, so that whoever asks again is not given
  // the same connection.
  const ownSockets = { socket: sockets(answerTimeoutMs * 0.95) };
  const sql = postgres(url, {
    max: options.max ?? 10,
    connect_timeout: Math.ceil((options.connectTimeoutMs ?? 10_000) / 1000),
    // A pause after an outage stays short: every caller has a back-off of its own.
    backoff: (retries) => Math.min(2, 0.1 * 2 ** Math.min(retries, 5)),
    ...ownSockets,
    types: { bigint: postgres.BigInt },
    onnotice: (notice) => onNotice?.(`${notice['severity'] ?? 'NOTICE'}: ${notice['message'] ?? ''}`),
    connection: {
      application_name: options.applicationName ?? 'whorl',
      statement_timeout: statementTimeoutMs,
      // A frozen process must not hold locks for longer than this.
      idle_in_transaction_session_timeout: 5_000,
    },
  });
  return answered(sql, answerTimeoutMs);
}

/**
 * For the `from` of a statement whose loss in a crash of the database costs nothing but doing it again: its commit does
 * not wait for the disk. What was written before it is as durable as ever.
 */
export const relaxed = (sql: Sql) => sql`(select set_config('synchronous_commit', 'off', true)) relaxed`;

/** The SQLSTATE, or the code of the client or of the operating system, of a failed statement. */
export function errorCode(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

/**
 * The row is at fault: PostgreSQL would refuse it again tomorrow. Class 22 (data), 23 (constraints), and 54 (limits),
 * which is what JSON of a thousand nested lists meets.
 */
export function isRefusal(error: unknown): boolean {
  return /^(?:22|23|54)[0-9A-Z]{3}$/.test(errorCode(error) ?? '');
}

/** A value itself is at fault (22: data, 54: limits), and not how it stands to other rows. */
export const isBadValue = (error: unknown): error is Error => /^(?:22|54)[0-9A-Z]{3}$/.test(errorCode(error) ?? '');

const clientCodes = new Set([
  'CONNECT_TIMEOUT',
  'CONNECTION_TIMEOUT',
  'CONNECTION_CLOSED',
  'CONNECTION_ENDED',
  'CONNECTION_DESTROYED',
]);
const systemCodes = /^(?:E(?:CONN\w+|PIPE|TIMEDOUT|HOSTUNREACH|NETUNREACH|NETDOWN|AI_AGAIN|NOTFOUND|MFILE)|EAI_AGAIN)$/;

/**
 * The database is at fault, and the same statement may work later: no connection (08), no resources (53), shut down or
 * timed out (57), its disk (58), a deadlock (40), or a standby that does not take writes (25006).
 */
export function isUnavailable(error: unknown): boolean {
  const code = errorCode(error) ?? '';
  if (clientCodes.has(code) || systemCodes.test(code)) return true;
  return /^(?:08|40|53|57|58)[0-9A-Z]{3}$/.test(code) || code === '25006' || code === '25P03';
}
