import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import { type Postgres, startPostgres } from '../src/embedded/postgres.ts';
import { startTemporal, type Temporal } from '../src/embedded/temporal.ts';
import { type Database, openDatabase } from '../src/store/db.ts';
import { migrate } from '../src/store/migrate.ts';

/** PostgreSQL, which may be taken down; `sql` goes there directly. */
export interface DatabaseService {
  readonly sql: Database;
  /** `host:port`. */
  readonly address: string;
  /** Of a database behind some other address. */
  urlAt(address: string): string;
  restart(how: 'fast' | 'immediate', ms: number): Promise<void>;
  terminate(): Promise<number>;
  diskFull(on: boolean): Promise<void>;
  /** Ends all connections of Whorl's processes. */
  evict(): Promise<void>;
  stop(): Promise<void>;
}

const again = async <T>(what: string, call: () => Promise<T>): Promise<T> => {
  for (let n = 1; ; n += 1) {
    try {
      return await call();
    } catch (error) {
      if (n === 40) throw new Error(`${what} did not come back`, { cause: error });
      await delay(250);
    }
  }
};

/** A durable PostgreSQL with Whorl's schema; `moved` hears of its address whenever it has another. */
export async function startDatabase(dir: string, moved: (address: string) => void): Promise<DatabaseService> {
  const home = path.join(dir, 'postgres');
  let server: Postgres = await startPostgres({ dir: home });
  let sql = openDatabase(server.url, { max: 4, applicationName: 'faults' });
  const addressOf = ({ port }: Postgres): string => `127.0.0.1:${port}`;
  await migrate(sql);
  await plant(sql);

  return {
    get sql() {
      return sql;
    },
    get address() {
      return addressOf(server);
    },
    urlAt(address) {
      const url = new URL(server.url);
      url.host = address;
      return url.href;
    },
    async restart(how, ms) {
      const before = sql;
      if (how === 'immediate') process.kill(server.pid, 'SIGKILL');
      await server.stop();
      void before.end({ timeout: 0 });
      await delay(ms);
      // Backends of a postmaster that was killed hold its shared memory for a moment.
      server = await again('PostgreSQL', () => startPostgres({ dir: home }));
      moved(addressOf(server));
      sql = openDatabase(server.url, { max: 4, applicationName: 'faults' });
    },
    async terminate() {
      const rows = await sql<{ pid: number }[]>`
        select pid, pg_terminate_backend(pid) from pg_stat_activity
        where application_name like 'whorl%' and (state <> 'idle' or query ~* '^\\s*(insert|with|update)')
        order by random() limit 8`;
      return rows.length;
    },
    async diskFull(on) {
      await sql.unsafe(diskFunction(on));
    },
    async evict() {
      await sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'whorl%'`;
    },
    async stop() {
      await sql.end({ timeout: 1 });
      await server.stop();
    },
  };
}

// The function is replaced and the triggers stay: DDL on a table would wait for processes that are frozen in a transaction.
const diskFunction = (full: boolean): string => `
  create or replace function faults_disk() returns trigger language plpgsql as $$
  begin
    ${full ? `raise exception 'could not extend file: No space left on device' using errcode = 'disk_full';` : ''}
    return null;
  end $$`;

async function plant(sql: Database): Promise<void> {
  await sql.unsafe(diskFunction(false));
  const tables = await sql<{ name: string }[]>`
    select quote_ident(table_name) as name from information_schema.tables
    where table_schema = 'public' and table_type = 'BASE TABLE'`;
  for (const { name } of tables) {
    await sql.unsafe(
      `create trigger faults_disk before insert on ${name} for each statement execute function faults_disk()`,
    );
  }
}

/** Temporal, which may be taken down; `client` goes there directly. */
export interface Engine {
  readonly client: Client;
  readonly address: string;
  readonly namespace: string;
  restart(ms: number): Promise<void>;
  /** Resets a pipeline's newest run; false when there is nothing to reset. */
  reset(pipeline: string, to: 'first' | 'last'): Promise<boolean>;
  stop(): Promise<void>;
}

export async function startEngine(dir: string, moved: (address: string) => void): Promise<Engine> {
  const dbFile = path.join(dir, 'temporal', 'temporal.db');
  let server: Temporal = await again('Temporal', () => startTemporal({ dbFile }));
  const connect = async (): Promise<Client> =>
    new Client({ connection: await Connection.connect({ address: server.address }), namespace: server.namespace });
  let client = await connect();
  const former: Client[] = [];

  return {
    get client() {
      return client;
    },
    get address() {
      return server.address;
    },
    get namespace() {
      return server.namespace;
    },
    async restart(ms) {
      // Closed at the end: grpc-js throws where nobody can catch it when a connection is closed under a call.
      former.push(client);
      process.kill(server.pid, 'SIGKILL');
      await server.stop();
      await delay(ms);
      server = await again('Temporal', () => startTemporal({ dbFile }));
      moved(server.address);
      client = await again('Temporal', connect);
    },
    async reset(pipeline, to) {
      const { runId, status } = await client.workflow.getHandle(pipeline).describe();
      const { events } = await client.workflow.getHandle(pipeline, runId).fetchHistory();
      const tasks = (events ?? []).filter((event) => event.workflowTaskCompletedEventAttributes);
      const task = to === 'first' ? tasks[0] : tasks.at(-1);
      if (!task?.eventId || status.name !== 'RUNNING') return false;
      await client.workflowService.resetWorkflowExecution({
        namespace: server.namespace,
        workflowExecution: { workflowId: pipeline, runId },
        reason: 'faults',
        workflowTaskFinishEventId: task.eventId,
        requestId: randomUUID(),
      });
      return true;
    },
    async stop() {
      for (const each of [client, ...former]) await each.connection.close();
      await server.stop();
    },
  };
}
