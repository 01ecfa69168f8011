import { expect, test, vi } from 'vitest';
import { answer } from '../../sim/buildkite/index.ts';
import { traceIdOf } from '../../src/tracing/ids.ts';
import { type CollectedSpan, startCollector } from '../support/collector.ts';
import { fleet } from '../support/fleet.ts';
import { buildOf } from '../support/pipelines.ts';
import { buildkiteFile } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 240_000 });

/** Every span leads to the one root. */
function isConnected(spans: CollectedSpan[]): boolean {
  const ids = new Set(spans.map(({ id }) => id));
  const roots = spans.filter(({ parent }) => parent === '');
  return roots.length === 1 && spans.every(({ parent }) => parent === '' || ids.has(parent));
}

test('one push is one connected trace through three processes, and a rerun is another one', async () => {
  const collector = await startCollector();
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_EXPORTER_OTLP_HEADERS: 'x-key=planted' };
  const { whorl, start, appview } = await fleet();
  const [server, ingest, worker] = await Promise.all([
    start('server', env),
    start('ingest', env),
    start('worker', env),
  ]);
  await whorl.knot.connected(1);
  await appview.connected();

  whorl.ci.onRequest({ route: 'create' }, answer(503), 1);
  const pushed = whorl.push({ 'ci.yml': buildkiteFile() });
  const { id } = await buildOf(whorl, pushed);
  whorl.ci.advance(id, 'running');
  await pushed.shows('ci.yml', 'running');
  whorl.ci.advance(id, 'passed');
  await pushed.shows('ci.yml', 'success');
  await pushed.ended();

  const trace = traceIdOf(pushed.id, 0);
  const ofTrace = () => collector.spans.filter((span) => span.trace === trace);
  const named = (name: string) => ofTrace().filter((span) => span.name === name);
  await until(
    'the whole trace',
    () => {
      const names = ['trigger', 'frame received', 'sent success', 'status success', 'webhook'];
      return names.every((name) => named(name).length > 0) && isConnected(ofTrace());
    },
    60_000,
  );
  expect(new Set(collector.spans.map((span) => span.trace))).toEqual(new Set([trace]));
  expect(new Set(ofTrace().map(({ role }) => role))).toEqual(new Set(['ingest', 'worker', 'server']));
  expect(named('trigger')).toMatchObject([{ parent: '', said: { state: 'started', repo: expect.any(String) } }]);
  expect(named('temporal start')).toMatchObject([{ role: 'ingest' }]);

  // Each attempt is a span, and the POST of each is a part of it.
  const creates = named('activity create');
  const posts = named('POST create');
  expect(creates.map(({ said }) => said['whorl.outcome'])).toEqual([
    ...creates.slice(1).map(() => 'Transient'),
    'done',
  ]);
  expect(creates.map(({ said }) => said['whorl.attempt'])).toEqual(creates.map((_, n) => `${n + 1}`));
  expect(posts.map(({ said }) => said['http.response.status_code'])).toEqual(['503', '201']);
  expect(posts.map(({ parent }) => parent)).toEqual([creates[0]?.id, creates.at(-1)?.id]);
  expect(collector.requests[0]?.headers['x-key']).toBe('planted');

  // Opened again, it is a trace of its own.
  await whorl.command('rerun', pushed.id);
  const again = traceIdOf(pushed.id, 1);
  await buildOf(whorl, pushed, 'ci.yml', 2);
  await until(
    'a trace of the second run',
    () => {
      const spans = collector.spans.filter((span) => span.trace === again);
      return spans.some(({ name }) => name === 'opened again') && spans.some(({ name }) => name === 'POST create');
    },
    60_000,
  );
  for (const process of [server, ingest, worker]) process.signal('SIGTERM');
  for (const process of [server, ingest, worker]) expect(await process.exited()).toBe(0);
});

test('a collector that is away holds nothing up, and is told of now and then', async () => {
  const collector = await startCollector();
  collector.answer(400);
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url };
  const { whorl, start, appview } = await fleet();
  const [server, ingest, worker] = await Promise.all([
    start('server', env),
    start('ingest', env),
    start('worker', env),
  ]);
  await whorl.knot.connected(1);
  await appview.connected();
  const pushed = whorl.push({ 'ci.yml': 'tack: { fake: }\n' });
  await pushed.shows('ci.yml', 'success');
  const complains = () => worker.log.some(({ msg }) => String(msg).startsWith('traces cannot be sent'));
  await until('a complaint', complains, 60_000);
  for (const process of [server, ingest, worker]) process.signal('SIGTERM');
  for (const process of [server, ingest, worker]) expect(await process.exited()).toBe(0);
});
