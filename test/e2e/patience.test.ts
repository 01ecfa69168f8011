import { createServer, connect, type AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { expect, inject, onTestFinished, test, vi } from 'vitest';
import { freePorts } from '../../src/embedded/ports.ts';
import { startPatiently, TemporalAway } from '../../src/roles/patience.ts';
import { fleet, roleEnv } from '../support/fleet.ts';
import { linked } from '../support/linked.ts';
import { startRoleProcess } from '../support/role-process.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 90_000 });

const lines: { msg: string }[] = [];
const log = pino({ base: null }, { write: (line: string) => void lines.push(JSON.parse(line) as { msg: string }) });

/** Takes connections on a port, for another one. */
async function forward(port: number, to: number): Promise<void> {
  const server = createServer((from) => {
    const there = connect(to, '127.0.0.1');
    for (const socket of [from, there]) socket.on('error', () => {});
    from.pipe(there).pipe(from);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  expect((server.address() as AddressInfo).port).toBe(port);
  onTestFinished(() => void server.close());
}

test('each role may be started before its database', async () => {
  const { whorl } = await fleet();
  const there = new URL(whorl.databaseUrl);
  const [port = 0] = await freePorts(1);
  const late = new URL(whorl.databaseUrl);
  late.host = `127.0.0.1:${port}`;
  const env = { ...roleEnv(whorl), WHORL_DATABASE_URL: late.href };
  const logs: Record<string, unknown>[][] = [];
  const starting = (['ingest', 'worker', 'server'] as const).map((role) => {
    const said: Record<string, unknown>[] = [];
    logs.push(said);
    return startRoleProcess(role, env, { quiet: true, log: said });
  });
  const waits = ({ msg }: Record<string, unknown>): boolean =>
    String(msg).includes('cannot start yet: the database does not answer');
  const ended = Promise.all(starting);
  await Promise.race([until('all to wait', () => logs.every((said) => said.some(waits))), ended]);
  expect(logs.map((said) => said.some(({ msg }) => String(msg).endsWith('is ready')))).toEqual([false, false, false]);
  await forward(port, Number(there.port));
  await ended;
});

test('a worker that loses Temporal while it starts waits for it', async () => {
  const { start } = await fleet();
  const link = await linked({ name: 'temporal', protocol: 'grpc', to: [inject('temporalAddress')] });
  const asked = link.arm({ when: 'before', what: 'call', match: /DescribeNamespace/ }, () => {
    link.refuse();
    return 'drop';
  });
  const starting = start('worker', { TEMPORAL_ADDRESS: `127.0.0.1:${link.port}` });
  await asked.hit;
  expect(await Promise.race([starting, delay(25_000, 'waiting')])).toBe('waiting');
  link.mend();
  const { log: said } = await starting;
  expect(said.some(({ msg }) => /cannot start yet: Temporal .* does not take our connection/.test(String(msg)))).toBe(
    true,
  );
});

test('a worker ends when its namespace is not there', async () => {
  const { start } = await fleet();
  await expect(start('worker', { TEMPORAL_NAMESPACE: 'nowhere' })).rejects.toThrow(/check TEMPORAL_NAMESPACE/);
});

test('Temporal may come later too, what does not pass is thrown at once, and a stop ends the wait', async () => {
  const told = new AbortController();
  let tries = 0;
  const there = await startPatiently(
    async () => {
      tries += 1;
      if (tries === 1) throw new TemporalAway('Temporal (localhost:1, namespace default) does not take our connection');
      return tries;
    },
    { log, told: told.signal },
  );
  expect(there).toBe(2);
  expect(lines.map(({ msg }) => msg)).toEqual([
    'cannot start yet: Temporal (localhost:1, namespace default) does not take our connection; trying again in 0.5 s',
  ]);

  const wrong = startPatiently(() => Promise.reject(new Error('a wrong password')), { log, told: told.signal });
  await expect(wrong).rejects.toThrow('a wrong password');

  const waiting = startPatiently(() => Promise.reject(new TemporalAway('gone')), { log, told: told.signal });
  told.abort();
  expect(await waiting).toBeUndefined();
});
