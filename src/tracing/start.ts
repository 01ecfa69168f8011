import type { Logger } from 'pino';
import { traceIdOf } from './ids.ts';
import { type Sink, type SpanRecord, traceTo } from './index.ts';

export interface TracingOptions {
  /** Of the process: OpenTelemetry's own names say whether there are traces, and where they go. */
  env: Readonly<Record<string, string | undefined>>;
  role: string;
  log: Logger;
  /** Hides what must not be seen. */
  mask: (text: string) => string;
  /** The present run of a pipeline. */
  epochOf: (pipeline: string) => Promise<number>;
}

/** So long an epoch counts that was asked for. */
const keepMs = 500;
const mostKept = 1_000;
/** Spans whose epoch is asked for; more are dropped. */
const mostAsking = 5_000;

/**
 * Traces, when `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`) is set; else nothing is loaded. Returns what ends
 * them.
 */
export async function startTracing(options: TracingOptions): Promise<() => Promise<void>> {
  const { env, log, epochOf } = options;
  if (!wanted(env)) return async () => {};
  const protocol = env['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL'] || env['OTEL_EXPORTER_OTLP_PROTOCOL'];
  if (protocol && protocol !== 'http/protobuf')
    log.warn({ protocol }, 'traces are sent as http/protobuf, whatever OTEL_EXPORTER_OTLP_PROTOCOL says');
  const { otlp } = await import('./otlp.ts');
  const exporter = otlp({ ...options, serviceName: env['OTEL_SERVICE_NAME'] || 'whorl' });
  const isSampled = sampler(env);
  const epochs = new Map<string, { epoch: Promise<number>; until: number }>();
  const asking = new Set<Promise<void>>();

  const remember = (key: string, epoch: Promise<number>): void => {
    epochs.delete(key);
    epochs.set(key, { epoch, until: performance.now() + keepMs });
    for (const oldest of epochs.keys()) {
      if (epochs.size <= mostKept) break;
      epochs.delete(oldest);
    }
  };
  const presentEpoch = ({ pipeline, run = '' }: SpanRecord): Promise<number> => {
    const key = `${pipeline} ${run}`;
    const known = epochs.get(key);
    if (known && known.until > performance.now()) return known.epoch;
    const epoch = epochOf(pipeline).catch(() => 0);
    remember(key, epoch);
    return epoch;
  };
  /** Whatever is wrong with a span, what it tells of goes on. */
  const send = (span: SpanRecord, epoch: number): void => {
    try {
      if (isSampled(traceIdOf(span.pipeline, epoch))) exporter.send(span, epoch);
    } catch (error) {
      log.warn({ err: error, pipeline: span.pipeline, span: span.name }, 'a span cannot be told');
    }
  };
  const sink: Sink = (span) => {
    if (span.epoch !== undefined) {
      if (span.is === 'root') remember(`${span.pipeline} `, Promise.resolve(span.epoch));
      return send(span, span.epoch);
    }
    if (asking.size >= mostAsking) return;
    const sent = presentEpoch(span).then((epoch) => send(span, epoch));
    asking.add(sent);
    void sent.finally(() => asking.delete(sent));
  };
  traceTo(sink);
  log.info({ endpoint: origin(env), role: options.role }, 'traces are sent');
  return async () => {
    traceTo(undefined);
    await Promise.allSettled(asking);
    await exporter.close().catch((error: unknown) => log.warn({ err: error }, 'the last traces could not be sent'));
  };
}

const endpointOf = (env: TracingOptions['env']): string =>
  env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'] || env['OTEL_EXPORTER_OTLP_ENDPOINT'] || '';

const wanted = (env: TracingOptions['env']): boolean =>
  endpointOf(env) !== '' &&
  env['OTEL_SDK_DISABLED']?.toLowerCase() !== 'true' &&
  env['OTEL_TRACES_EXPORTER'] !== 'none';

/** Without a password that somebody put into it. */
const origin = (env: TracingOptions['env']): string => {
  const url = URL.parse(endpointOf(env));
  return url ? url.host : 'unreadable';
};

/**
 * As `OTEL_TRACES_SAMPLER` says. A trace's id decides about it, so that every process decides the same.
 */
function sampler(env: TracingOptions['env']): (traceId: string) => boolean {
  const name = (env['OTEL_TRACES_SAMPLER'] ?? '').replace('parentbased_', '');
  if (name === 'always_off') return () => false;
  if (name !== 'traceidratio') return () => true;
  const ratio = Number(env['OTEL_TRACES_SAMPLER_ARG'] || '1');
  return (traceId) => !(Number.parseInt(traceId.slice(0, 8), 16) / 2 ** 32 >= ratio);
}
