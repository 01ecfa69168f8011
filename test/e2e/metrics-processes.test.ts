import { expect, test, vi } from 'vitest';
import { freePorts } from '../../src/embedded/ports.ts';
import { fleet } from '../support/fleet.ts';
import { scrape } from '../support/scrape.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 180_000 });

test('each role answers /metrics on its own address, or on WHORL_METRICS_ADDR alone', async () => {
  const { start } = await fleet();
  const [port] = await freePorts(1);
  const apart = `127.0.0.1:${port}`;
  const [ingest, worker, server] = await Promise.all([
    start('ingest'),
    start('worker'),
    start('server', { WHORL_METRICS_ADDR: apart }),
  ]);

  for (const [role, url] of [
    ['ingest', ingest.url],
    ['worker', worker.url],
    ['server', `http://${apart}`],
  ] as const) {
    const seen = await scrape(url);
    expect(seen.value('whorl_build_info', { role }), role).toBe(1);
    expect(seen.value('whorl_database_up'), role).toBe(1);
    expect(seen.value('process_resident_memory_bytes'), role).toBeGreaterThan(0);
  }
  expect((await fetch(`${server.url}/metrics`)).status).toBe(404);
  const { families } = await scrape(`http://${apart}`);
  expect([...families].filter((name) => name.startsWith('temporal_'))).toEqual([]);
  await until(
    'pollers of the worker',
    async () => {
      const seen = await scrape(worker.url);
      return (seen.value('temporal_num_pollers', { poller_type: 'workflow_task' }) ?? 0) > 0;
    },
    60_000,
  );
  await until('all shares of dispatch are held', async () => {
    const seen = await scrape(ingest.url);
    return (
      (seen.value('whorl_leases_held', { kind: 'dispatch' }) ?? 0) > 0 &&
      seen.value('whorl_dispatch_shares_unowned') === 0
    );
  });
});
