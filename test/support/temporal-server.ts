import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { stringify } from 'yaml';
import { serverPrograms } from '../../scripts/temporal-server.mjs';
import { ensureSearchAttributes } from '../../src/cli/search-attributes.ts';
import { supervise } from '../../src/embedded/supervise.ts';

const run = promisify(execFile);
const dynamicConfig = fileURLToPath(new URL('../../temporal/dynamicconfig.yaml', import.meta.url));
const databases = { default: 'temporal', visibility: 'temporal_visibility' };
const shards = 4;

export interface TemporalServer {
  address: string;
  namespace: string;
  stop(): Promise<void>;
}

/**
 * The server that production runs, all of its services in one process, on PostgreSQL: schema by its own tool, namespace
 * and search attributes by ours. `npm run test:cluster` builds it before.
 */
export async function startTemporalServer(postgresUrl: string, namespace = 'whorl-tests'): Promise<TemporalServer> {
  const dir = await mkdtemp(path.join(tmpdir(), 'whorl-temporal-server-'));
  const { hostname, port, username, password } = new URL(postgresUrl);
  await schema({ SQL_HOST: hostname, SQL_PORT: port, SQL_USER: username, SQL_PASSWORD: password });
  const ports = await lowPorts(9);
  const file = path.join(dir, 'server.yaml');
  await writeFile(file, stringify(configOf(ports, { at: `${hostname}:${port}`, username, password })), { mode: 0o600 });
  const server = await supervise('Temporal server', {
    server: { command: serverPrograms.server, args: ['--config-file', file, '--allow-no-auth', 'start'], cwd: dir },
    stopSignal: 'SIGTERM',
    graceMs: 10_000,
    logFile: path.join(dir, 'server.log'),
    removeAtEnd: [dir],
  });
  const address = `127.0.0.1:${ports[0]}`;
  try {
    await Promise.race([
      ensureSearchAttributes({ TEMPORAL_ADDRESS: address, TEMPORAL_NAMESPACE: namespace }, { waitMs: 120_000 }),
      server.ended.then(({ reason, log }) => {
        throw new Error(`the Temporal server ended: ${reason}\n${log}`);
      }),
    ]);
    // What was added is seen by every part of the server within seconds.
    await ensureSeen(address, namespace);
  } catch (error) {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
    throw error;
  }
  return { address, namespace, stop: server.stop };
}

/** Free ports below 32768: on PostgreSQL the server keeps its own in a smallint. */
async function lowPorts(count: number): Promise<number[]> {
  const found: number[] = [];
  for (let port = 20_000 + Math.floor(Math.random() * 10_000); found.length < count && port < 32_768; port += 1) {
    const server = createServer();
    const free = once(server.listen(port, '127.0.0.1'), 'listening').then(
      () => true,
      () => false,
    );
    if (!(await free)) continue;
    server.close();
    found.push(port);
  }
  return found;
}

async function ensureSeen(address: string, namespace: string): Promise<void> {
  const env = { TEMPORAL_ADDRESS: address, TEMPORAL_NAMESPACE: namespace };
  for (let tries = 1; ; tries += 1) {
    try {
      await ensureSearchAttributes(env, { check: true, waitMs: 0 });
      return;
    } catch (error) {
      if (tries === 60) throw error;
      await delay(500);
    }
  }
}

/** Two databases with the schema that is inside of the tool. */
async function schema(env: Record<string, string>): Promise<void> {
  const tool = (...args: string[]) =>
    run(serverPrograms.sql, args, { env: { ...env, SQL_PLUGIN: 'postgres12' } }).catch((error: unknown) => {
      throw new Error(`Temporal's SQL tool could not make its schema (\`npm run test:cluster\` builds it)`, {
        cause: error,
      });
    });
  for (const [name, database] of Object.entries(databases)) {
    const about = ['--db', database];
    const from = ['--schema-name', `postgresql/v12/${name === 'default' ? 'temporal' : 'visibility'}`];
    await tool(...about, 'create-database');
    await tool(...about, 'setup-schema', '-v', '0.0');
    await tool(...about, 'update-schema', ...from);
  }
}

function configOf(ports: number[], database: { at: string; username: string; password: string }) {
  const store = (databaseName: string, maxConns: number) => ({
    sql: {
      pluginName: 'postgres12',
      databaseName,
      connectAddr: database.at,
      connectProtocol: 'tcp',
      user: database.username,
      password: database.password,
      maxConns,
      maxIdleConns: maxConns,
    },
  });
  const [frontend, frontendMembers, history, historyMembers, matching, matchingMembers, worker, workerMembers, http] =
    ports;
  const service = (grpcPort: number | undefined, membershipPort: number | undefined, more = {}) => ({
    rpc: { grpcPort, membershipPort, bindOnLocalHost: true, ...more },
  });
  return {
    log: { stdout: true, level: 'warn' },
    persistence: {
      defaultStore: 'default',
      visibilityStore: 'visibility',
      numHistoryShards: shards,
      datastores: { default: store(databases.default, 20), visibility: store(databases.visibility, 10) },
    },
    global: { membership: { maxJoinDuration: '30s', broadcastAddress: '127.0.0.1' } },
    services: {
      frontend: service(frontend, frontendMembers, { httpPort: http }),
      history: service(history, historyMembers),
      matching: service(matching, matchingMembers),
      worker: service(worker, workerMembers),
    },
    clusterMetadata: {
      enableGlobalNamespace: false,
      failoverVersionIncrement: 10,
      masterClusterName: 'active',
      currentClusterName: 'active',
      clusterInformation: {
        active: { enabled: true, initialFailoverVersion: 1, rpcAddress: `127.0.0.1:${frontend}` },
      },
    },
    dcRedirectionPolicy: { policy: 'noop' },
    archival: { history: { state: 'disabled' }, visibility: { state: 'disabled' } },
    namespaceDefaults: { archival: { history: { state: 'disabled' }, visibility: { state: 'disabled' } } },
    dynamicConfigClient: { filepath: dynamicConfig, pollInterval: '60s' },
  };
}
