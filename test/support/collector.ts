import Fastify from 'fastify';
import protobuf from 'protobufjs';
import { onTestFinished } from 'vitest';

export interface CollectedSpan {
  trace: string;
  id: string;
  /** Empty for a root. */
  parent: string;
  name: string;
  said: Record<string, unknown>;
  /** `whorl.role` of the process that sent it. */
  role: string;
  /** Why it failed. */
  error: string | undefined;
  ms: number;
}

export interface Collector {
  url: string;
  spans: CollectedSpan[];
  /** Of `/v1/traces`, as they came. */
  requests: { headers: Record<string, unknown> }[];
  /** What requests are answered with from now on; default 200. */
  answer(status: number): void;
}

/** The parts of OpenTelemetry's `trace/v1` and `collector/trace/v1` that are looked at. */
const proto = `
syntax = "proto3";
message Request { repeated ResourceSpans resource_spans = 1; }
message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
message Resource { repeated KeyValue attributes = 1; }
message ScopeSpans { repeated Span spans = 2; }
message Span {
  bytes trace_id = 1; bytes span_id = 2; bytes parent_span_id = 4; string name = 5; int32 kind = 6;
  fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8; repeated KeyValue attributes = 9; Status status = 15;
}
message Status { string message = 2; int32 code = 3; }
message KeyValue { string key = 1; AnyValue value = 2; }
message AnyValue { oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4; } }
`;
const requestType = protobuf.parse(proto, { keepCase: true }).root.lookupType('Request');

interface Pair {
  key: string;
  value: Record<string, unknown>;
}
interface RawSpan {
  trace_id: string;
  span_id: string;
  parent_span_id?: string;
  name: string;
  start_time_unix_nano: string;
  end_time_unix_nano: string;
  attributes?: Pair[];
  status?: { code?: number; message?: string };
}
interface RawRequest {
  resource_spans?: { resource?: { attributes?: Pair[] }; scope_spans?: { spans?: RawSpan[] }[] }[];
}

/** Takes traces by OTLP over HTTP, as any collector does. Ends with the test. */
export async function startCollector(): Promise<Collector> {
  const app = Fastify();
  const spans: CollectedSpan[] = [];
  const requests: Collector['requests'] = [];
  let status = 200;
  app.addContentTypeParser('application/x-protobuf', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.post('/v1/traces', async (request, reply) => {
    requests.push({ headers: request.headers });
    if (status === 200) spans.push(...spansOf(request.body as Buffer));
    return reply.code(status).type('application/x-protobuf').send(Buffer.alloc(0));
  });
  const url = await app.listen({ port: 0, host: '127.0.0.1' });
  onTestFinished(() => app.close());
  return { url, spans, requests, answer: (next) => void (status = next) };
}

function spansOf(body: Buffer): CollectedSpan[] {
  const plain = requestType.toObject(requestType.decode(body), { longs: String, bytes: String }) as RawRequest;
  return (plain.resource_spans ?? []).flatMap(({ resource, scope_spans: scopes = [] }) => {
    const role = valuesOf(resource?.attributes)['whorl.role'];
    return scopes.flatMap(({ spans = [] }) => spans.map((span) => spanOf(span, typeof role === 'string' ? role : '')));
  });
}

function spanOf(span: RawSpan, role: string): CollectedSpan {
  return {
    trace: hex(span.trace_id),
    id: hex(span.span_id),
    parent: hex(span.parent_span_id ?? ''),
    name: span.name,
    said: valuesOf(span.attributes),
    role,
    error: span.status?.code === 2 ? (span.status.message ?? '') : undefined,
    ms: Number(BigInt(span.end_time_unix_nano) - BigInt(span.start_time_unix_nano)) / 1e6,
  };
}

const hex = (base64: string): string => Buffer.from(base64, 'base64').toString('hex');

const valuesOf = (pairs: Pair[] = []): Record<string, unknown> =>
  Object.fromEntries(pairs.map(({ key, value }) => [key, Object.values(value)[0]]));
