import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { NativeConnection } from '@temporalio/worker';
import pino from 'pino';
import { expect, inject, onTestFinished, test } from 'vitest';
import { onRuntime, runtimeMetrics } from '../../src/roles/runtime.ts';

interface Line {
  exporter?: string;
  msg: string;
}
const lines: Line[] = [];
const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(JSON.parse(line) as Line) });
const connect = () => onRuntime(log, () => NativeConnection.connect({ address: inject('temporalAddress') }));
const exporters = () => lines.flatMap(({ exporter }) => exporter ?? []);

/** Takes a port as soon as it is free; when somebody else was faster, it is taken all the same. */
async function take(port: number): Promise<void> {
  const server = createServer();
  onTestFinished(() => void server.close());
  const taken = (): Promise<boolean> =>
    new Promise((resolve) => {
      server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true));
    });
  for (let tries = 0; tries < 20 && !(await taken()); tries += 1) await delay(50);
}

test('a runtime that ended with its last connection is made again, on another port when its own was taken', async () => {
  const first = await connect();
  const begun = exporters().length;
  const exporter = exporters().at(-1) ?? '';
  expect(await runtimeMetrics()).toContain('temporal_');
  await first.close();
  await take(Number(new URL(exporter).port));

  const second = await connect();
  expect(exporters()).toHaveLength(begun + 1);
  expect(exporters().at(-1)).not.toBe(exporter);
  expect(await runtimeMetrics()).toContain('temporal_');

  // Those that come while it lives share it.
  const third = await connect();
  expect(exporters()).toHaveLength(begun + 1);
  await second.close();
  await third.close();
});

test('a runtime that ends between its making and the connection is made on another port', async () => {
  let connections = 0;
  const begun = exporters().length;
  const connection = await onRuntime(log, async () => {
    connections += 1;
    if (connections === 1) {
      const short = await NativeConnection.connect({ address: inject('temporalAddress') });
      await short.close();
      await take(Number(new URL(exporters().at(-1) ?? '').port));
    }
    return NativeConnection.connect({ address: inject('temporalAddress') });
  });
  expect(connections).toBe(2);
  expect(exporters()).toHaveLength(begun + 2);
  expect(lines.map(({ msg }) => msg)).toContain('the port for the metrics of Temporal’s SDK could not be taken');
  expect(await runtimeMetrics()).toContain('temporal_');
  await connection.close();
});

test('a runtime whose port is taken each time runs without metrics', async () => {
  let connections = 0;
  const connection = await onRuntime(log, async () => {
    connections += 1;
    if (connections <= 3) {
      const short = await NativeConnection.connect({ address: inject('temporalAddress') });
      await short.close();
      await take(Number(new URL(exporters().at(-1) ?? '').port));
    }
    return NativeConnection.connect({ address: inject('temporalAddress') });
  });
  expect(connections).toBe(4);
  expect(await runtimeMetrics()).toBe('');
  await connection.close();
});
