import { connect, createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, inject, onTestFinished, test } from 'vitest';
import { connectLazily } from '../../src/temporal/connection.ts';
import { freePorts } from '../../src/embedded/ports.ts';

const info = (connection: ReturnType<typeof connectLazily>, ms: number) =>
  connection.withDeadline(Date.now() + ms, () => connection.workflowService.getSystemInfo({}));

test('a call is tried again until Temporal is there', async () => {
  const [port = 0] = await freePorts(1);
  const connection = connectLazily({ address: `127.0.0.1:${port}` });
  onTestFinished(() => connection.close());
  const asked = info(connection, 20_000);
  await delay(300);
  const there = new URL(`http://${inject('temporalAddress')}`);
  const server = createServer((near) => {
    const far = connect(Number(there.port), there.hostname);
    near.pipe(far).pipe(near);
    for (const socket of [near, far]) socket.on('error', () => {});
  });
  server.listen(port, '127.0.0.1');
  onTestFinished(() => void server.close());
  expect((await asked).serverVersion).toMatch(/^\d/);
});

test.for([0, 50, 150, 400, 900])(
  'a connection that is closed after %i ms, while calls are tried again, disturbs nobody',
  async (ms) => {
    const connection = connectLazily({ address: '127.0.0.1:1' });
    const asked = Promise.allSettled([info(connection, 10_000), info(connection, 700)]);
    await delay(ms);
    await connection.close();
    expect((await asked).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    // What threw on a timer would fail the file now.
    await delay(300);
  },
);
