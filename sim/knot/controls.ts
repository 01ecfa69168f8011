import type { RequestListener } from 'node:http';
import { z } from 'zod';
import type { Push } from './events.ts';
import type { KnotRow } from './history.ts';

type Controlled = {
  host: string;
  history: readonly KnotRow[];
  push(push: Push): { rkey: string; sha: string; emitted: boolean };
  emit(nsid: string, event: unknown, rkey?: string): string;
  collaborators: ReadonlyMap<string, readonly string[]>;
  faults: { refuse: number | undefined };
};

const repo = z.object({
  did: z.string(),
  name: z.string(),
  repoDid: z.string().exactOptional(),
  defaultBranch: z.string().exactOptional(),
});
const workflow = z.object({
  name: z.string(),
  raw: z.string(),
  engine: z.string().exactOptional(),
  clone: z.record(z.string(), z.unknown()).exactOptional(),
});
const push = z.object({
  repo,
  workflows: z.array(workflow),
  ref: z.string().exactOptional(),
  newSha: z.string().exactOptional(),
  oldSha: z.string().exactOptional(),
  kind: z.enum(['push', 'pull_request', 'manual']).exactOptional(),
  pullRequest: z
    .object({
      sourceBranch: z.string(),
      targetBranch: z.string(),
      action: z.string().exactOptional(),
      pull: z.string().exactOptional(),
    })
    .exactOptional(),
  inputs: z.array(z.object({ key: z.string(), value: z.string() })).exactOptional(),
  committerDid: z.string().exactOptional(),
  knot: z.string().exactOptional(),
  rkey: z.string().exactOptional(),
  evenIfEmpty: z.boolean().exactOptional(),
});
const emit = z.object({ nsid: z.string(), event: z.unknown(), rkey: z.string().exactOptional() });

/** The HTTP side of a simulated knot: `POST /push`, `POST /emit`, `GET /history`, and whom it lets work in a repository. */
export function controls(knot: Controlled, date: () => string): RequestListener {
  const routes: Record<string, (body: unknown) => unknown> = {
    'POST /push': (body) => knot.push(push.parse(body)),
    'POST /emit': (body) => {
      const { nsid, event, rkey } = emit.parse(body);
      return { rkey: knot.emit(nsid, event, rkey) };
    },
    'GET /history': () => knot.history.map(({ nsid, rkey, created }) => ({ nsid, rkey, created: String(created) })),
    'GET /': () => `This is a simulated knot, ${knot.host}.`,
  };

  return (request, response) => {
    const answer = (status: number, value: unknown): void => {
      const text = typeof value === 'string' ? value : JSON.stringify(value);
      response.writeHead(status, {
        Date: date(),
        'Content-Type': typeof value === 'string' ? 'text/plain' : 'application/json',
      });
      response.end(`${text}\n`);
    };
    const url = new URL(request.url ?? '/', 'http://knot');
    if (url.pathname === '/xrpc/sh.tangled.repo.listCollaborators') {
      if (knot.faults.refuse !== undefined) return answer(knot.faults.refuse, { error: 'Refused' });
      const listed = knot.collaborators.get(url.searchParams.get('subject') ?? '');
      if (!listed) return answer(404, { error: 'RepoNotFound' });
      const added = { addedBy: 'did:web:owner.example', createdAt: new Date().toISOString() };
      return answer(200, { items: listed.map((subject) => ({ subject, ...added })) });
    }
    const route = routes[`${request.method} ${url.pathname}`];
    if (!route)
      return answer(404, { error: 'not here; try POST /push, POST /emit, GET /history, or a WebSocket on /events' });

    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('error', () => response.destroy());
    request.on('end', () => {
      try {
        const text = Buffer.concat(parts).toString('utf8');
        answer(200, route(text === '' ? undefined : JSON.parse(text)));
      } catch (error) {
        answer(400, { error: error instanceof z.ZodError ? z.prettifyError(error) : String(error) });
      }
    });
  };
}
