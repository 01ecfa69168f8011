import * as z from 'zod';
import { isDid } from '../forges/tangled/names.ts';
import { ClientError } from './error.ts';
import type { JsonHttp } from './http.ts';
import type { Pace } from './pace.ts';

/** What a knot is asked for. */
export interface Knot {
  /**
   * Whom the knot lets work in one of its repositories besides the owner, by DID. Knots before Tangled 1.15 hold none: there
   * the owner's own records say it. Throws `ClientError`.
   */
  collaboratorsOf(knot: string, repoDid: string, signal: AbortSignal): Promise<string[]>;
}

export interface KnotOptions {
  http: JsonHttp;
  pace: Pace;
  /** Plain http is fine. */
  dev: boolean;
}

/** `sh.tangled.repo.listCollaborators` (tangled core, lexicons): `subject` is the repository's own DID. */
const method = 'sh.tangled.repo.listCollaborators';
const pageSize = 1_000;
const maxPages = 5;
const maxBytes = 1024 * 1024;
const page = z.object({
  cursor: z.string().max(2_048).nullish(),
  items: z.array(z.object({ subject: z.string().refine(isDid) })),
});
/** That it has no such method, or no such repository. */
const isNone = ({ status }: ClientError): boolean => status !== undefined && [400, 404, 405, 501].includes(status);

export const knotClient = ({ http, pace, dev }: KnotOptions): Knot => ({
  async collaboratorsOf(knot, repoDid, signal) {
    const found = new Set<string>();
    const url = new URL(`/xrpc/${method}`, `${dev ? 'http' : 'https'}://${knot}`);
    url.search = new URLSearchParams({ subject: repoDid, limit: String(pageSize) }).toString();
    for (let pages = 0; pages < maxPages; pages += 1) {
      const answer = await pace
        .run(url.origin, signal, () => http.get(url, { maxBytes, signal }))
        .catch((error: unknown) => {
          if (error instanceof ClientError && isNone(error)) return { items: [] };
          throw error;
        });
      const { success, data } = page.safeParse(answer);
      if (!success) throw new ClientError('garbage', `the answer of ${url.host} to ${method} is not what it should be`);
      for (const { subject } of data.items) found.add(subject);
      if (!data.cursor || data.items.length === 0) break;
      url.searchParams.set('cursor', data.cursor);
    }
    return [...found];
  },
});
