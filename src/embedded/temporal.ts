import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Connection } from '@temporalio/client';
import { parse } from 'yaml';
import { z } from 'zod';
import { accepts, withFreePorts } from './ports.ts';
import { StartError, supervise } from './supervise.ts';
import type { Supervised } from './supervise.ts';
import { findTemporal, fourWays } from './temporal-binary.mjs';
import { temporalFile } from './temporal-file.ts';

export type TemporalOptions = {
  /** Keeps everything in this SQLite file. Without it: in memory. */
  dbFile?: string | undefined;
  /** Serves the web UI too. Default: no. */
  ui?: boolean | undefined;
  /** Default: `default`. */
  namespace?: string | undefined;
  /** Gets a line when it is ready, with the time it took. */
  log?: ((line: string) => void) | undefined;
  /** Called once if the server ends without `stop()`. */
  onExit?: ((reason: string) => void) | undefined;
};

export type Temporal = {
  /** host:port of the gRPC frontend. */
  address: string;
  /** Undefined without `ui`. */
  uiUrl: string | undefined;
  /** What it counts, in the text form of Prometheus. */
  metricsUrl: string;
  namespace: string;
  pid: number;
  guardPid: number;
  logFile: string;
  stop(): Promise<void>;
};

const readyMs = 30_000;
const folder = new URL('../../temporal/', import.meta.url);

/**
 * Starts a Temporal dev server of our own on 127.0.0.1 and free ports, with the search attributes and the dynamic
 * configuration of `temporal/`; resolves when its namespace takes workflows. It ends with this process, however this
 * process ends.
 */
export async function startTemporal(options: TemporalOptions = {}): Promise<Temporal> {
  const began = performance.now();
  const binary = await findTemporal();
  if (binary === undefined) {
    throw new Error(`there is no Temporal server on this machine: run 'npm run setup', or\n- ${fourWays.join('\n- ')}`);
  }
  const settings = await settingsOfOurs();
  const temporal = await withFreePorts(4, (ports) => startOn(ports, binary.path, settings, options));
  options.log?.(
    `Temporal ${binary.version} is ready on ${temporal.address} (${Math.round(performance.now() - began)} ms)`,
  );
  return temporal;
}

type Settings = { searchAttributes: Record<string, string>; dynamicConfig: Record<string, unknown> };

async function startOn(
  [port = 0, httpPort = 0, metricsPort = 0, uiPort = 0]: number[],
  command: string,
  { searchAttributes, dynamicConfig }: Settings,
  { dbFile, ui = false, namespace = 'default', onExit }: TemporalOptions,
): Promise<Temporal> {
  const runDir = await mkdtemp(path.join(tmpdir(), 'whorl-temporal-'));
  const home = dbFile === undefined ? runDir : path.dirname(path.resolve(dbFile));
  await mkdir(home, { recursive: true });
  const logFile = path.join(home, 'temporal.log');
  const args = ['server', 'start-dev', '--ip', '127.0.0.1', '--namespace', namespace];
  args.push('--port', `${port}`, '--http-port', `${httpPort}`, '--metrics-port', `${metricsPort}`);
  args.push('--log-level', 'warn', '--log-format', 'json');
  args.push(...(ui ? ['--ui-ip', '127.0.0.1', '--ui-port', `${uiPort}`] : ['--headless']));
  if (dbFile !== undefined) args.push('--db-filename', path.resolve(dbFile));
  for (const [name, type] of Object.entries(searchAttributes)) args.push('--search-attribute', `${name}=${type}`);
  for (const [key, value] of Object.entries(dynamicConfig)) {
    args.push('--dynamic-config-value', `${key}=${JSON.stringify(value)}`);
  }

  try {
    const server = await supervise('Temporal', {
      // A person's own Temporal settings are about other servers than this one.
      server: { command, args, cwd: runDir, env: { TEMPORAL_ADDRESS: '', TEMPORAL_NAMESPACE: '' } },
      stopSignal: 'SIGTERM',
      graceMs: 5_000,
      logFile,
      removeAtEnd: dbFile === undefined ? [runDir] : [runDir, temporalFile(home)],
    });
    await ready(server, port, namespace, Object.keys(searchAttributes));
    if (dbFile !== undefined) await writeFile(temporalFile(home), `127.0.0.1:${port}\n`);
    if (onExit !== undefined) server.onLost(onExit);
    return {
      address: `127.0.0.1:${port}`,
      uiUrl: ui ? `http://127.0.0.1:${uiPort}` : undefined,
      metricsUrl: `http://127.0.0.1:${metricsPort}/metrics`,
      namespace,
      pid: server.pid,
      guardPid: server.guardPid,
      logFile,
      stop: server.stop,
    };
  } catch (error) {
    await rm(runDir, { recursive: true, force: true });
    throw error;
  }
}

/** Waits until the namespace answers and knows our search attributes. */
async function ready(server: Supervised, port: number, namespace: string, attributes: string[]): Promise<void> {
  const timeout = AbortSignal.timeout(readyMs);
  const until = async (isTrue: () => Promise<boolean>): Promise<void> => {
    while (!(await isTrue())) {
      if (timeout.aborted) {
        await server.stop();
        throw new Error(`Temporal was not ready within ${readyMs / 1000} s`);
      }
      const ending = await Promise.race([server.ended, delay(20)]);
      if (ending !== undefined) throw new StartError('Temporal', ending);
    }
  };
  // The port first: gRPC waits a second after a refused connection.
  await until(() => accepts(port));
  const connection = Connection.lazy({ address: `127.0.0.1:${port}` });
  try {
    await until(async () => {
      try {
        await connection.workflowService.describeNamespace({ namespace });
        const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
        return attributes.every((name) => name in customAttributes);
      } catch {
        return false;
      }
    });
  } finally {
    await connection.close();
  }
}

const dynamicConfigFile = z.record(z.string(), z.array(z.object({ value: z.unknown() }).strict()).length(1));

/** The files of `temporal/`, which production uses as they are and the dev server takes as flags. */
async function settingsOfOurs(): Promise<Settings> {
  const read = (name: string): Promise<string> => readFile(fileURLToPath(new URL(name, folder)), 'utf8');
  const searchAttributes = z.record(z.string(), z.string()).parse(JSON.parse(await read('search-attributes.json')));
  const entries = Object.entries(dynamicConfigFile.parse(parse(await read('dynamicconfig.yaml'))));
  return { searchAttributes, dynamicConfig: Object.fromEntries(entries.map(([key, [only]]) => [key, only?.value])) };
}
