import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createSignal } from '../buildkite/signal.ts';
import {
  type Answer,
  createFaults,
  type Fault,
  type Hold,
  type RequestMatch,
  type RequestRecord,
  type Rule,
} from './faults.ts';

export interface ServerOptions {
  /** default 0: any free one */
  port?: number;
  /** address to listen on; default 127.0.0.1 */
  host?: string;
  /** one line for each answer */
  log?: (line: string) => void;
}

/** What a simulator makes of a request. */
export interface Handler {
  /** what `RequestMatch.route` calls it */
  route: string;
  /** may be called more than once, or not at all; `asOf` is a rev */
  answer(asOf?: string): Answer;
}

export type SimServer = Awaited<ReturnType<typeof startServer>>;

/** An HTTP server that keeps a log of its requests and does wrong when it is told to. */
export async function startServer(
  options: ServerOptions,
  handle: (request: { method: string; host: string; url: URL; body: unknown }) => Handler,
) {
  const requests: RequestRecord[] = [];
  const faults = createFaults();
  const signal = createSignal();

  const server = createServer((incoming, response) => {
    void received(incoming).then((body) => {
      const { method = 'GET', headers } = incoming;
      const url = new URL(incoming.url ?? '/', 'http://sim');
      const host = (headers.host ?? '').toLowerCase();
      const { route, answer } = handle({ method, host, url, body });
      const request: RequestRecord = {
        n: requests.length + 1,
        at: Date.now(),
        method,
        host,
        path: url.pathname,
        query: url.searchParams,
        route,
        headers,
      };
      requests.push(request);
      signal.notify();
      response.on('close', () => {
        request.endedAt = Date.now();
        const fault = request.fault ? `  (${request.fault})` : '';
        options.log?.(`${method} ${incoming.url}  ${request.status ?? 'no answer'}${fault}`);
        signal.notify();
      });
      const send = ({ status, body: content, headers: more }: Answer): void => {
        if (response.destroyed) return;
        request.status = status;
        const text = typeof content === 'string' ? content : JSON.stringify(content);
        response.writeHead(status, {
          'Content-Type': typeof content === 'string' ? 'text/plain; charset=utf-8' : 'application/json; charset=utf-8',
          'Content-Length': Buffer.byteLength(text),
          ...more,
        });
        response.end(method === 'HEAD' ? undefined : text);
      };
      const fault = faults.take(request);
      if (!fault) return send(answer());
      request.fault = fault.name;
      return fault.run({ request, response, answer, send });
    });
  });
  server.on('clientError', (_error, socket) => socket.destroy());

  server.listen(options.port ?? 0, options.host ?? '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  return {
    port,
    url: `http://127.0.0.1:${port}`,
    /** Every request so far, oldest first; all, or those that fit. */
    requests: (route?: string): readonly RequestRecord[] =>
      route === undefined ? requests : requests.filter((request) => request.route === route),
    /** The next matching requests meet this fault, `times` of them. A fault for all routes: `{}`. */
    fault: (match: RequestMatch, fault: Fault, times: number | 'always' = 1): Rule => faults.add(match, fault, times),
    /**
     * Stops the next matching request until it is released. `answer` (default): what it will say is fixed when it
     * arrives, and is old when it is sent; `request`: it will say what is true at its release.
     */
    hold: (match: RequestMatch, at: 'request' | 'answer' = 'answer'): Hold => faults.hold(match, at),
    /** Removes every fault and releases every hold. What hangs, hangs on. */
    clearFaults: (): void => faults.clear(),
    /** Resolves with the first value of `check` that is something; it is asked again at each request and answer. */
    until: signal.until,
    async close(): Promise<void> {
      faults.clear();
      signal.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The body as JSON, if it is that. */
async function received(incoming: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = [];
  try {
    for await (const part of incoming) parts.push(part as Buffer);
    return JSON.parse(Buffer.concat(parts).toString('utf8'));
  } catch {
    return undefined;
  }
}
