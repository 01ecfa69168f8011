import { once } from 'node:events';
import { connect, constants, createSecureServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import type { Certificate } from './certificates.ts';

export interface TlsFrontend {
  /** `localhost:port`. */
  address: string;
  /** What callers gave as `authorization` and as `user-agent`, of every call. */
  calls: { authorization: string | undefined; agent: string; path: string }[];
}

export interface TlsFrontendOptions {
  /** `host:port` of a Temporal without TLS. */
  to: string;
  own: Certificate;
  /** Whoever has no certificate of this authority is not let in. PEM. */
  clientCa?: string;
  /** Whoever does not give this key is answered UNAUTHENTICATED. */
  apiKey?: string;
}

const hopByHop = new Set(['connection', 'host', 'http2-settings']);

/** A gateway in front of Temporal as clouds have it: TLS, certificates of clients, and a key for each call. */
export async function tlsFrontend({ to, own, clientCa, apiKey }: TlsFrontendOptions): Promise<TlsFrontend> {
  const calls: TlsFrontend['calls'] = [];
  const target = connect(`http://${to}`, { settings: { enablePush: false } });
  const asked = clientCa === undefined ? {} : { requestCert: true, rejectUnauthorized: true, ca: clientCa };
  const server = createSecureServer({ ...own, ...asked, allowHTTP1: false });
  server.on('sessionError', () => {});
  server.on('stream', (stream, headers) => {
    const { authorization } = headers;
    calls.push({ authorization, agent: String(headers['user-agent']), path: String(headers[':path']) });
    if (apiKey !== undefined && authorization !== `Bearer ${apiKey}`) return refuse(stream);
    const onward = Object.entries(headers).filter(([name]) => !hopByHop.has(name) && name !== ':authority');
    const call = target.request(Object.fromEntries(onward));
    let trailers: Record<string, unknown> = {};
    call.on('response', (answer) => {
      stream.respond(answer, { waitForTrailers: true });
      call.pipe(stream);
    });
    call.on('trailers', (last) => (trailers = { ...last }));
    stream.on('wantTrailers', () => stream.sendTrailers(trailers as Record<string, string>));
    call.on('error', () => stream.close(constants.NGHTTP2_CANCEL));
    stream.on('error', () => call.close(constants.NGHTTP2_CANCEL));
    stream.on('aborted', () => call.close(constants.NGHTTP2_CANCEL));
    stream.pipe(call);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    target.destroy();
    server.close();
  });
  return { address: `localhost:${(server.address() as AddressInfo).port}`, calls };
}

/** grpc: status 16 is UNAUTHENTICATED; an answer of trailers alone. */
function refuse(stream: ServerHttp2Stream): void {
  const said = { 'grpc-status': '16', 'grpc-message': 'Request unauthorized.' };
  stream.respond({ ':status': 200, 'content-type': 'application/grpc', ...said }, { endStream: true });
}
