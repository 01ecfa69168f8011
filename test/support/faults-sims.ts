import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import type { Remote } from '../../faults/contract.ts';
import { start } from '../../faults/remote.ts';
import { buildkiteWebhook } from '../../src/providers/buildkite/webhook.ts';

/** Starts one of the simulators' programs, as a faults run does. Ends with the test. */
export function simulator<H extends { stop(): Promise<void> }>(name: 'ci' | 'tangled' | 'readers'): Remote<H> {
  const process = start<H>(fileURLToPath(new URL(`../../faults/sims/${name}.ts`, import.meta.url)));
  onTestFinished(() => process.end());
  return process.ask;
}

export interface Arrived {
  /** What Whorl's own judge of webhooks answers. */
  status: number;
  event: string;
  build: string;
  state: string;
  requestId: string;
  body: string;
}

/** Somewhere for webhooks to go: believes what Whorl would believe, and refuses bodies above a megabyte as it does. */
export async function webhookEnd(secret: string) {
  const arrived: Arrived[] = [];
  const parse = buildkiteWebhook({ mode: 'signature', secrets: () => [secret] });
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const bytes = Buffer.concat(chunks);
      const result = parse(request.headers, bytes, Date.now());
      const status = bytes.length > 1024 * 1024 ? 413 : result.kind === 'refused' ? result.status : 200;
      const body = bytes.toString();
      const { id = '', state = '' } = buildIn(body);
      arrived.push({
        status,
        event: String(request.headers['x-buildkite-event']),
        build: id,
        state,
        requestId: String(request.headers['x-buildkite-request']),
        body,
      });
      response.writeHead(status).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/webhooks/buildkite`, arrived };
}

function buildIn(body: string): { id?: string; state?: string } {
  try {
    return (JSON.parse(body) as { build?: { id?: string; state?: string } }).build ?? {};
  } catch {
    return {};
  }
}
