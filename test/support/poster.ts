import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { signature } from '../../sim/buildkite/index.ts';
import { secret } from './spindle.ts';

/** How one POST ended: with a status, or with an error before the first byte of an answer, or in the middle of one. */
export type Posted = { build: string; status: number } | { build: string; error: string; begun: boolean };

/** Senders of webhooks at this address, each with connections that it keeps, one POST after another until told to end. */
export function posting(url: string, senders: number): { done: Posted[]; stop(): Promise<Posted[]> } {
  const done: Posted[] = [];
  let going = true;
  const send = async (agent: Agent): Promise<void> => {
    while (going) {
      const posted = await post(url, agent);
      done.push(posted);
      // Whoever is refused turns to another process.
      if ('error' in posted) return;
    }
  };
  const all = Array.from({ length: senders }, async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    await send(agent);
    agent.destroy();
  });
  return {
    done,
    async stop() {
      going = false;
      await Promise.all(all);
      return done;
    },
  };
}

function post(url: string, agent: Agent): Promise<Posted> {
  const build = randomUUID();
  const body = bodyOf(build);
  const seconds = Math.floor(Date.now() / 1000);
  const headers = {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'x-buildkite-signature': signature(secret, seconds, body),
  };
  return new Promise((resolve) => {
    let begun = false;
    const fail = (error: NodeJS.ErrnoException): void => resolve({ build, error: error.code ?? error.message, begun });
    const sent = request(`${url}/webhooks/buildkite`, { method: 'POST', agent, headers }, (answer) => {
      begun = true;
      answer.on('error', fail).on('end', () => resolve({ build, status: answer.statusCode ?? 0 }));
      answer.resume();
    });
    sent.on('error', fail).end(body);
  });
}

const bodyOf = (build: string): string =>
  JSON.stringify({
    event: 'build.running',
    build: {
      id: build,
      url: 'https://api.buildkite.com/v2/organizations/acme/pipelines/app/builds/7',
      web_url: 'https://buildkite.com/acme/app/builds/7',
      number: 7,
      state: 'running',
      meta_data: { 'tack:knot': 'knot.example', 'tack:pipeline_rkey': build, 'tack:workflow': 'ci.yml' },
    },
    pipeline: { slug: 'app' },
  });
