import { ProviderError } from '../errors.ts';
import type { FindRequest } from '../provider.ts';
import { isFullHash, runTag } from './builds.ts';
import { parseJson } from './answers.ts';
import { type Http, isRefusal, type Request } from './http.ts';
import type { BuildkiteTarget } from './plan.ts';
import { type BuildkiteBuild, parseBuild } from './wire.ts';

/** The token's user, by whatever of these Buildkite told us. */
export interface Identity {
  id?: string;
  email?: string;
}

type List = Pick<Request, 'key' | 'priority' | 'signal'> & {
  org: string;
  pipeline?: string;
  query: Record<string, string>;
};

/** Pages of a list that one call may read; what lies deeper is read one by one, or found by a narrower list. */
export const maxPages = 3;
const perPage = 100;

/** Builds of a pipeline or of an organisation, newest first, without jobs; `enough` ends it early. */
export async function* listBuilds(http: Http, list: List): AsyncGenerator<BuildkiteBuild> {
  const { org, pipeline, query, key, priority, signal } = list;
  for (let page = 1; page <= maxPages; page += 1) {
    const answer = await http.call({
      method: 'GET',
      path: ['organizations', org, ...(pipeline === undefined ? [] : ['pipelines', pipeline]), 'builds'],
      query: { ...query, exclude_jobs: 'true', exclude_pipeline: 'true', per_page: `${perPage}`, page: `${page}` },
      key: `${key}/page/${page}`,
      priority,
      signal,
    });
    const where = pipeline === undefined ? org : `${org}/${pipeline}`;
    if (isRefusal(answer)) {
      throw answer.status === 404
        ? new ProviderError('TargetMissing', missing(where))
        : new ProviderError(
            'Internal',
            `Buildkite did not list the builds of ${where} (${answer.status}): ${answer.reason}`,
          );
    }
    const found = parseJson(answer.bytes);
    if (!Array.isArray(found)) throw unreadable(`the list of builds of ${where}`);
    for (const item of found) {
      const build = parseBuild(item);
      if (build) yield build;
    }
    if (found.length < perPage) return;
  }
}

export const missing = (where: string): string =>
  `Buildkite has no pipeline ${where}, or the token cannot see it. Check “pipeline” and “org” under tack.buildkite, and the access of the token’s user`;

export const unreadable = (what: string, ambiguous = false): ProviderError =>
  new ProviderError('Transient', `Buildkite’s answer (${what}) cannot be read`, { ambiguous });

/** Clocks differ, and a POST may have waited on its way. */
const marginMs = 10 * 60_000;

/**
 * The builds that our POSTs made, oldest first. By our key first; then by commit and time, in case a job has changed the
 * key or the filter does not know it yet; and among those that were told of and looked at, which no list may know yet.
 * What counts is judged here, never by the filter.
 */
export async function findBuilds(
  http: Http,
  { runKey, spec, posts, told }: Omit<FindRequest, 'told'> & { told: BuildkiteBuild[] },
  target: BuildkiteTarget,
  identity: () => Promise<Identity>,
  signal: AbortSignal,
): Promise<BuildkiteBuild[]> {
  if (posts.length === 0) return [];
  const commit = target.commit ?? spec.commit;
  const first = Math.min(...posts.map(({ postedAt }) => postedAt.getTime()));
  const nonces = new Set<unknown>(posts.map(({ nonce }) => nonce));
  const { org, pipeline } = target;
  const candidate = (build: BuildkiteBuild): boolean =>
    build.source === 'api' &&
    build.rebuilt_from === undefined &&
    (!isFullHash(commit) || build.commit === commit) &&
    nonces.has(build.meta_data['whorl_nonce']);
  const filters: Record<string, string>[] = [
    { 'meta_data[whorl_run]': runTag(runKey) },
    { created_from: new Date(first - marginMs).toISOString(), ...(isFullHash(commit) ? { commit } : {}) },
  ];
  const surely = told.filter(candidate);
  for (const [n, query] of filters.entries()) {
    const key = `find/${runTag(runKey)}/${n}`;
    const found = [...surely];
    for await (const build of listBuilds(http, { org, pipeline, query, key, priority: 'create', signal })) {
      if (candidate(build) && !surely.some(({ id }) => id === build.id)) found.push(build);
    }
    if (found.length === 0) continue;
    const us = await identity();
    const ours = found.filter((build) => isCreator(build, us));
    if (ours.length > 0) return ours.sort((a, b) => (a.number ?? 0) - (b.number ?? 0));
  }
  return [];
}

/** By id where both are known, else by e-mail: `/access-token` tells no id. */
export function isCreator({ creator }: BuildkiteBuild, us: Identity): boolean {
  if (!creator) return false;
  if (us.id !== undefined && creator.id !== undefined) return us.id === creator.id;
  return us.email !== undefined && us.email === creator.email;
}
