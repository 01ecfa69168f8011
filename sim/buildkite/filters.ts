import { Refusal } from './refusal.ts';
import type { Build } from './types.ts';
import type { Exactly } from './world.ts';

/** A query as fastify parses it: repeated names become lists. */
export type Query = Readonly<Record<string, string | readonly string[] | undefined>>;

/** Values of `name` and of `name[]`. */
export function listOf(query: Query, name: string): string[] {
  return [query[name], query[`${name}[]`]].flat().filter((value) => value !== undefined);
}

export const one = (query: Query, name: string): string | undefined => listOf(query, name)[0];

/** Reads a flag such as `exclude_jobs=true`. */
export const flag = (query: Query, name: string): boolean => one(query, name) === 'true';

/**
 * Makes a test out of the documented filters of the build lists. Several meta_data filters must all fit (Buildkite
 * documents only one).
 */
export function buildFilter(query: Query): (build: Readonly<Build>) => boolean {
  const tests: ((build: Readonly<Build>) => boolean)[] = [];
  const commits = listOf(query, 'commit');
  if (commits.length > 0) tests.push((build) => commits.includes(build.commit));
  const branches = listOf(query, 'branch').map(wildcard);
  if (branches.length > 0) tests.push((build) => branches.some((branch) => branch.test(build.branch)));
  const states = listOf(query, 'state').flatMap((state) => (state === 'finished' ? FINISHED : [state]));
  if (states.length > 0) {
    tests.push((build) => states.includes(build.state) || (build.blocked && states.includes('blocked')));
  }
  const creator = one(query, 'creator');
  if (creator !== undefined) tests.push((build) => build.creator?.id === creator);
  const from = time(query, 'created_from');
  if (from !== undefined) tests.push((build) => build.createdAt >= from);
  const to = time(query, 'created_to');
  if (to !== undefined) tests.push((build) => build.createdAt <= to);
  const finished = time(query, 'finished_from');
  if (finished !== undefined) tests.push((build) => build.finishedAt !== null && build.finishedAt >= finished);
  for (const name of Object.keys(query)) {
    const key = META_DATA.exec(name)?.[1];
    const value = one(query, name);
    if (key !== undefined) tests.push((build) => build.metaData[key] === value);
  }
  return (build) => tests.every((test) => test(build));
}

/** What a build must have to pass the filters, where it is one value: builds can be looked up by it. */
export function exactly(query: Query): Exactly[] {
  return Object.keys(query).flatMap((name) => {
    const values = listOf(query, name);
    const [value] = values;
    return value !== undefined && values.length === 1 && (name === 'commit' || META_DATA.test(name))
      ? [{ name, value }]
      : [];
  });
}

const META_DATA = /^meta_data\[(.+)\]$/;

// As documented: `finished` is these four, and not skipped or not_run.
const FINISHED = ['passed', 'failed', 'blocked', 'canceled'];

function wildcard(pattern: string): RegExp {
  const quoted = pattern.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`);
  return new RegExp(`^${quoted.replaceAll('*', '.*')}$`);
}

function time(query: Query, name: string): number | undefined {
  const text = one(query, name);
  if (text === undefined) return undefined;
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new Refusal(400, `${name} is not an ISO 8601 time`);
  return ms;
}

/** Page size: 30 unless asked for, at most 100. */
export function pageSize(query: Query): number {
  const asked = Number(one(query, 'per_page') ?? 30);
  if (!Number.isInteger(asked) || asked < 1) return 30;
  return Math.min(asked, 100);
}

/** One numbered page and its `Link` header (undefined when everything fits on one). */
export function numberedPage<T>(
  items: readonly T[],
  query: Query,
  url: string,
): { items: T[]; link: string | undefined } {
  const size = pageSize(query);
  const page = Math.max(1, Math.trunc(Number(one(query, 'page') ?? 1)) || 1);
  const last = Math.max(1, Math.ceil(items.length / size));
  const to = (target: number, rel: string): string => {
    const address = new URL(url);
    address.searchParams.set('page', String(target));
    return `<${address.href}>; rel="${rel}"`;
  };
  const links = [
    ...(page < last ? [to(page + 1, 'next'), to(last, 'last')] : []),
    ...(page > 1 ? [to(page - 1, 'prev'), to(1, 'first')] : []),
  ];
  return {
    items: items.slice((page - 1) * size, page * size),
    link: links.length > 0 ? links.join(', ') : undefined,
  };
}

/** One page by cursor, as the jobs list has it: `items` and `links`. */
export function cursorPage<T extends { readonly id: string }>(
  items: readonly T[],
  query: Query,
  url: string,
): { items: readonly T[]; links: { self: string; next?: string } } {
  const after = one(query, 'after');
  const at = after === undefined ? 0 : items.findIndex((item) => item.id === after) + 1;
  if (after !== undefined && at === 0) throw new Refusal(400, 'Invalid cursor value');
  const shown = items.slice(at, at + pageSize(query));
  const last = shown.at(-1);
  const next = new URL(url);
  if (last) next.searchParams.set('after', last.id);
  return { items: shown, links: { self: url, ...(at + shown.length < items.length ? { next: next.href } : {}) } };
}
