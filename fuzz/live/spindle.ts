import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createNetwork, startJetstream } from '../../sim/atproto/index.ts';
import { startKnot } from '../../sim/knot/knot.ts';
import { type Database, openDatabase } from '../../src/store/db.ts';
import { migrate } from '../../src/store/migrate.ts';
import { pinRepo } from '../../src/store/repos.ts';
import { startWire, type Wire } from './wire.ts';

export type Asked = 'memory';
export type Told = { kind: 'ready'; url: string } | { kind: 'memory'; heap: number; rss: number };

export const webhookSecret = 'a-webhook-secret-for-fuzzing';
export const repo = { did: 'did:plc:ewvi7nxzyoun6zhxrhs64oiz', name: 'whorl-demo' };
export const host = 'spindle.example';

/** A spindle in a process of its own, with a knot and a jetstream that say what they are told to. */
export interface LiveSpindle {
  sql: Database;
  knot: Awaited<ReturnType<typeof startKnot>>;
  /** A second knot, which says anything. */
  wire: Wire;
  jetstream: Awaited<ReturnType<typeof startJetstream>>;
  network: ReturnType<typeof createNetwork>;
  /** The DID of its owner. */
  owner: string;
  /** Of its public face; another one after `revive`. */
  port(): number;
  /** Why its process has ended, with the last of what it said; undefined while it runs. */
  death(): string | undefined;
  /** Starts it again if it has ended. */
  revive(): Promise<void>;
  memory(): Promise<{ heap: number; rss: number }>;
  close(): Promise<void>;
}

/** Starts one on an empty database. */
export async function startSpindle(databaseUrl: string): Promise<LiveSpindle> {
  const sql = openDatabase(databaseUrl, { max: 3 });
  await migrate(sql);
  const network = createNetwork();
  const owner = network.account({ handle: 'owner.test' });
  const jetstream = await startJetstream(network);
  const knot = await startKnot();
  const wire = await startWire();
  await pinRepo(sql, { knot: knot.host, ...repo });
  await pinRepo(sql, { knot: wire.host, ...repo });

  const env = {
    PATH: process.env['PATH'] ?? '',
    WHORL_LOG_LEVEL: process.env['WHORL_LOG_LEVEL'] ?? 'error',
    WHORL_HOSTNAME: host,
    WHORL_OWNER_DID: owner.did,
    WHORL_DEV: 'true',
    WHORL_DATABASE_URL: databaseUrl,
    WHORL_LISTEN_ADDR: '127.0.0.1:0',
    WHORL_JETSTREAM_URL: jetstream.url,
    WHORL_PLC_URL: 'http://127.0.0.1:1',
    // a call of Temporal holds its place until its time is up
    WHORL_DISPATCH_CONCURRENCY: '256',
    WHORL_BUILDKITE_TOKEN: 'a-token-for-fuzzing',
    WHORL_BUILDKITE_ORG: 'acme',
    WHORL_BUILDKITE_WEBHOOK_SECRET: webhookSecret,
    WHORL_BUILDKITE_WEBHOOK_MODE: 'signature',
  };
  let child: ChildProcess;
  let port = 0;
  let death: string | undefined;
  let said = '';

  const start = async (): Promise<void> => {
    const knots = knot.connections.length;
    const streams = jetstream.connections.length;
    death = undefined;
    said = '';
    const one = fork(path.join(import.meta.dirname, 'child.ts'), { env, stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
    child = one;
    one.stderr?.on('data', (text: Buffer) => (said = (said + text.toString()).slice(-8_000)));
    const ended = once(one, 'exit').then(([code, signal]) => {
      death = `its process ended with ${String(signal ?? code)}: ${said.trim()}`;
      return undefined;
    });
    const ready = answer(one, 'ready');
    const told = await Promise.race([ready, ended]);
    if (!told) throw new Error(`the spindle cannot start: ${death}`);
    port = Number(new URL(told.url).port);
    await knot.connected(knots + 1);
    await jetstream.connected(streams + 1);
  };
  await start();

  return {
    sql,
    knot,
    wire,
    jetstream,
    network,
    owner: owner.did,
    port: () => port,
    death: () => death,
    async revive() {
      if (death !== undefined) await start();
    },
    async memory() {
      const told = answer(child, 'memory');
      child.send('memory' satisfies Asked);
      return await told;
    },
    async close() {
      if (death === undefined) {
        const gone = once(child, 'exit');
        child.disconnect();
        await gone;
      }
      await Promise.all([knot.close(), wire.close(), jetstream.close()]);
      await sql.end({ timeout: 1 });
    },
  };
}

/** What the child tells next of this kind. */
function answer<K extends Told['kind']>(child: ChildProcess, kind: K): Promise<Extract<Told, { kind: K }>> {
  return new Promise((resolve) => {
    const look = (message: Told): void => {
      if (message.kind !== kind) return;
      child.off('message', look);
      resolve(message as Extract<Told, { kind: K }>);
    };
    child.on('message', look);
  });
}
