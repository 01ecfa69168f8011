import { hostname } from 'node:os';
import { diag, DiagLogLevel, type HrTime, SpanKind, SpanStatusCode, TraceFlags } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { detectResources, resourceAttributesEnvDetector, resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, type ReadableSpan } from '@opentelemetry/sdk-trace';
import type { Logger } from 'pino';
import { version } from '../version.ts';
import type { SpanRecord } from './index.ts';
import { freshSpanId, spanIdOf, traceIdOf } from './ids.ts';

export interface OtlpOptions {
  /** What the process is: `up`, `ingest`, `worker` or `server`. */
  role: string;
  serviceName: string;
  log: Logger;
  /** Hides what must not be seen. */
  mask: (text: string) => string;
}

export interface Otlp {
  send(span: SpanRecord, epoch: number): void;
  /** Sends what waits, within some seconds. */
  close(): Promise<void>;
}

const kinds = {
  internal: SpanKind.INTERNAL,
  client: SpanKind.CLIENT,
  consumer: SpanKind.CONSUMER,
  producer: SpanKind.PRODUCER,
} as const;

/**
 * Sends spans in batches, by OTLP over HTTP, to where the `OTEL_EXPORTER_OTLP_*` variables say; the exporter reads them.
 * Of those that cannot be sent the oldest 2,048 wait; more are dropped.
 */
export function otlp({ role, serviceName, log, mask }: OtlpOptions): Otlp {
  diag.setLogger(
    {
      error: (message) => log.warn({ said: mask(message) }, 'traces cannot be sent'),
      warn: (message) => log.warn({ said: mask(message) }, 'traces are not sent as they should'),
      info: () => {},
      debug: () => {},
      verbose: () => {},
    },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
  const resource = resourceFromAttributes({
    'service.name': serviceName,
    'service.version': version,
    'service.instance.id': `${hostname()}:${process.pid}`,
    'whorl.role': role,
  }).merge(detectResources({ detectors: [resourceAttributesEnvDetector] }));
  const processor = new BatchSpanProcessor({
    exporter: new OTLPTraceExporter(),
    maxQueueSize: 2_048,
    maxExportBatchSize: 512,
    scheduledDelayMillis: 2_000,
    exportTimeoutMillis: 10_000,
  });

  return {
    send(span, epoch) {
      const { pipeline, name, is, parent, error } = span;
      const traceId = traceIdOf(pipeline, epoch);
      const root = spanIdOf(pipeline, epoch, 'root');
      const idOf = (spanId: string) => ({ traceId, spanId, traceFlags: TraceFlags.SAMPLED });
      const own = is === 'root' ? root : is === 'once' ? spanIdOf(pipeline, epoch, name) : (span.id ?? freshSpanId());
      const end = Math.max(span.start, span.end);
      const readable: ReadableSpan = {
        name,
        kind: kinds[span.kind ?? 'internal'],
        spanContext: () => idOf(own),
        ...(is === 'root' ? {} : { parentSpanContext: idOf(parent ?? root) }),
        startTime: timeOf(span.start),
        endTime: timeOf(end),
        duration: timeOf(end - span.start),
        status:
          error === undefined ? { code: SpanStatusCode.UNSET } : { code: SpanStatusCode.ERROR, message: mask(error) },
        attributes: { ...masked(span.said, mask), 'cicd.pipeline.run.id': pipeline, 'whorl.epoch': epoch },
        links: [],
        events: [],
        ended: true,
        resource,
        instrumentationScope: { name: 'whorl', version },
        droppedAttributesCount: 0,
        droppedEventsCount: 0,
        droppedLinksCount: 0,
      };
      processor.onEnd(readable);
    },
    close: () => processor.shutdown(),
  };
}

const masked = (said: SpanRecord['said'] = {}, mask: (text: string) => string) =>
  Object.fromEntries(
    Object.entries(said).map(([key, value]) => [key, typeof value === 'string' ? mask(value).slice(0, 1_000) : value]),
  );

/** Seconds and nanoseconds of ms. */
const timeOf = (ms: number): HrTime => [Math.floor(ms / 1000), Math.round((ms % 1000) * 1_000_000) % 1_000_000_000];
