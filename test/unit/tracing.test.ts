import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { pino } from 'pino';
import { afterEach, expect, test } from 'vitest';
import { startCollector } from '../support/collector.ts';
import { spanIdOf, traceIdOf } from '../../src/tracing/ids.ts';
import { isTracing, recordSpan, type SpanRecord, traced, traceTo } from '../../src/tracing/index.ts';
import { startTracing } from '../../src/tracing/start.ts';

const log = pino({ level: 'silent' });
const pipeline = 'pipeline/knot.example/3abc';

afterEach(() => traceTo(undefined));

const options = (env: Record<string, string>, epochOf = async () => 0) => ({
  env,
  role: 'worker',
  log,
  mask: (text: string) => text.replaceAll('planted', '***'),
  epochOf,
});

test('a trace has the same id in every process, and another one for each run', () => {
  expect(traceIdOf(pipeline, 0)).toMatch(/^[0-9a-f]{32}$/);
  expect(traceIdOf(pipeline, 0)).toBe(traceIdOf(pipeline, 0));
  const program = `import('./src/tracing/ids.ts').then(({ traceIdOf }) => process.stdout.write(traceIdOf('${pipeline}', 0)))`;
  const other = execFileSync(process.execPath, ['-e', program], { cwd: path.join(import.meta.dirname, '../..') });
  expect(other.toString()).toBe(traceIdOf(pipeline, 0));
  expect(new Set([0, 1, 2].map((epoch) => traceIdOf(pipeline, epoch))).size).toBe(3);
  expect(spanIdOf(pipeline, 0, 'root')).toMatch(/^[0-9a-f]{16}$/);
});

test.each<{ what: string; env: Record<string, string> }>([
  { what: 'nothing is said', env: {} },
  { what: 'the endpoint is empty', env: { OTEL_EXPORTER_OTLP_ENDPOINT: '' } },
  {
    what: 'the SDK is disabled',
    env: { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9', OTEL_SDK_DISABLED: 'TRUE' },
  },
  { what: 'traces are', env: { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9', OTEL_TRACES_EXPORTER: 'none' } },
])('there are no traces when $what', async ({ env }) => {
  const stop = await startTracing(options(env));
  expect(isTracing()).toBe(false);
  expect(await traced({ pipeline, name: 'work' }, async () => 42)).toBe(42);
  await stop();
});

test('what is under way within a span is a part of it, and an error is told', async () => {
  const spans: SpanRecord[] = [];
  traceTo((span) => void spans.push(span));
  const failing = traced({ pipeline, run: 'r', name: 'outer' }, async (say) => {
    await traced({ name: 'inner' }, async () => recordSpan({ name: 'innermost', start: 1, end: 2 }));
    say({ more: true });
    throw new Error('no luck');
  });
  await expect(failing).rejects.toThrow('no luck');
  const [innermost, inner, outer] = spans;
  expect([innermost, inner, outer].map((span) => [span?.name, span?.pipeline, span?.run])).toEqual([
    ['innermost', pipeline, 'r'],
    ['inner', pipeline, 'r'],
    ['outer', pipeline, 'r'],
  ]);
  expect(innermost?.parent).toBe(inner?.id);
  expect(inner?.parent).toBe(outer?.id);
  expect(outer).toMatchObject({ parent: undefined, error: 'no luck', said: { more: true } });
  // Nobody knows whose this would be.
  recordSpan({ name: 'alone', start: 1, end: 2 });
  expect(spans).toHaveLength(3);
});

test('spans go to the collector under their root, with the epoch that was asked for, and without secrets', async () => {
  const collector = await startCollector();
  const stop = await startTracing(options({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }, async () => 3));
  // The exporter reads the process's own environment.
  process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] = collector.url;
  await stop();
  const again = await startTracing(options({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }, async () => 3));
  delete process.env['OTEL_EXPORTER_OTLP_ENDPOINT'];
  recordSpan({ pipeline, name: 'later', start: 10, end: 5, said: { token: 'planted' }, error: 'it was planted' });
  recordSpan({ pipeline, epoch: 3, is: 'root', name: 'opened again', start: 1, end: 2 });
  await again();
  expect(collector.spans).toHaveLength(2);
  const later = collector.spans.find(({ name }) => name === 'later');
  expect(later).toMatchObject({ trace: traceIdOf(pipeline, 3), parent: spanIdOf(pipeline, 3, 'root'), ms: 0 });
  expect(later).toMatchObject({ error: 'it was ***', said: { token: '***', 'cicd.pipeline.run.id': pipeline } });
});

test('of all traces a part is sent when the sampler says so, and of each either all or nothing', async () => {
  const collector = await startCollector();
  process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] = collector.url;
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
    OTEL_TRACES_SAMPLER_ARG: '0.25',
  };
  const stop = await startTracing(options(env));
  delete process.env['OTEL_EXPORTER_OTLP_ENDPOINT'];
  for (let n = 0; n < 400; n++)
    for (const name of ['one', 'two']) recordSpan({ pipeline: `pipeline/knot/${n}`, epoch: 0, name, start: 1, end: 2 });
  await stop();
  const spans = Map.groupBy(collector.spans, ({ trace }) => trace);
  expect(spans.size).toBeGreaterThan(50);
  expect(spans.size).toBeLessThan(150);
  expect([...spans.values()].every((of) => of.length === 2)).toBe(true);
});
