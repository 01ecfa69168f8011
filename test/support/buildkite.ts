import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import { startBuildkite } from '../../sim/buildkite/index.ts';
import type { BuildkiteOptions, BuildkiteSim } from '../../sim/buildkite/index.ts';

export const BUILDS = '/organizations/acme/pipelines/app/builds';
export const SHA = 'a'.repeat(40);

/** Starts a simulated Buildkite that stops with the test. */
export async function buildkite(options: BuildkiteOptions = {}): Promise<BuildkiteSim> {
  const sim = await startBuildkite(options);
  onTestFinished(() => sim.close());
  return sim;
}

/** The fields that tests look at by name, in whatever answer or webhook they stand; the rest is matched whole. */
export interface Fields {
  readonly id: string;
  readonly number: number;
  readonly state: string;
  readonly blocked: boolean;
  readonly url: string;
  readonly web_url: string;
  readonly slug: string;
  readonly message: string;
  readonly event: string;
  readonly reset: number;
  readonly created_at: string;
  readonly finished_at: string;
  readonly jobs: unknown;
  readonly items: unknown;
  readonly build: Fields;
  readonly pipeline: Fields;
}

/** Calls the REST API as a client would; `path` without `/v2`, or a whole address. */
export async function call(sim: BuildkiteSim, method: string, path: string, sent?: unknown, headers = {}) {
  const response = await fetch(path.startsWith('http') ? path : sim.apiUrl + path, {
    method,
    headers: { authorization: `Bearer ${sim.token}`, 'content-type': 'application/json', ...headers },
    ...(sent === undefined ? {} : { body: typeof sent === 'string' ? sent : JSON.stringify(sent) }),
  });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json') ?? false;
  const body: unknown = isJson ? JSON.parse(text) : null;
  const { status, headers: answered } = response;
  return { status, headers: answered, text, body: body as Fields, list: body as readonly Fields[] };
}

/** Creates a build of `acme/app`. */
export const create = (sim: BuildkiteSim, more = {}, path = BUILDS) =>
  call(sim, 'POST', path, { commit: SHA, branch: 'main', ...more });

export interface Received {
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly raw: string;
  readonly body: Fields;
}

/** An HTTP server that stops with the test and keeps every request it gets; `answer` says with which status. */
export async function receiver(answer: (request: Received) => number | Promise<number> = () => 200) {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const raw = Buffer.concat(chunks).toString();
      const got: Received = { headers: request.headers, raw, body: JSON.parse(raw) as Fields };
      received.push(got);
      void Promise.resolve(answer(got)).then((status) => response.writeHead(status).end());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/hook`, received };
}
