import { createHash } from 'node:crypto';
import { isEnd } from '../../pipeline/status.ts';
import { ProviderError } from '../errors.ts';
import type { BuildRef, Built } from '../provider.ts';
import { addressOf, builtOf, goneOf } from './builds.ts';
import { parseJson } from './answers.ts';
import { type Http, isRefusal, type Refusal } from './http.ts';
import { listBuilds, unreadable } from './search.ts';
import { type BuildkiteBuild, parseBuild } from './wire.ts';

/** From this many builds of one pipeline on, lists are cheaper than single reads. */
const crowd = 6;

/** A state that we do not know leaves a build as it was. */
export type OnUnknown = (build: BuildkiteBuild) => void;

/** Where builds stand: many of one pipeline by lists, the rest, and failures that need their jobs, one by one. */
export async function readBuilds(
  http: Http,
  refs: BuildRef[],
  onUnknown: OnUnknown,
  signal: AbortSignal,
): Promise<Built[]> {
  const groups = Map.groupBy(refs, (ref) => {
    const { org, pipeline } = addressOf(ref);
    return `${org}/${pipeline}`;
  });
  const built: Built[] = [];
  for (const group of groups.values()) {
    const listed = group.length < crowd ? new Map<string, Built>() : await readListed(http, group, signal);
    for (const ref of group) {
      const one = listed.get(ref.id) ?? (await readOne(http, ref, onUnknown, signal));
      if (one) built.push(one);
    }
  }
  return built;
}

/** What lists say for certain. A list lags and has no jobs, so what it lacks or leaves open is not in the answer. */
async function readListed(http: Http, group: BuildRef[], signal: AbortSignal): Promise<Map<string, Built>> {
  const wanted = new Map(group.map((ref) => [ref.id, ref]));
  const places = group.map(addressOf);
  const [place] = places;
  const told = new Map<string, Built>();
  if (!place) return told;
  const created = places.map((one) => one.created);
  const since = created.every((ms) => ms !== undefined) ? Math.min(...created) - 1000 : undefined;
  const query: Record<string, string> = since === undefined ? {} : { created_from: new Date(since).toISOString() };
  const key = `list/${createHash('sha256')
    .update([...wanted.keys()].sort().join())
    .digest('hex')
    .slice(0, 32)}`;
  const { org, pipeline } = place;
  for await (const build of listBuilds(http, { org, pipeline, query, key, priority: 'read', signal })) {
    const ref = wanted.get(build.id);
    const one = ref && builtOf(build, ref);
    if (one && !one.seen.unsure) told.set(build.id, one);
    if (ref) wanted.delete(build.id);
    if (wanted.size === 0) break;
  }
  return told;
}

async function readOne(
  http: Http,
  ref: BuildRef,
  onUnknown: OnUnknown,
  signal: AbortSignal,
): Promise<Built | undefined> {
  const build = await getBuild(http, ref, 'read', signal);
  if (!build) return goneOf(ref);
  const one = builtOf(build, ref);
  if (!one) onUnknown(build);
  return one;
}

/** A build may have 4,000 jobs, of a few KB each. */
const buildCap = 64 * 1024 * 1024;

/** A build with its jobs, or undefined when it is gone. Buildkite knows builds by number only. */
export async function getBuild(
  http: Http,
  ref: BuildRef,
  priority: 'cancel' | 'create' | 'read' | 'log',
  signal: AbortSignal,
  query: Record<string, string> = {},
): Promise<BuildkiteBuild | undefined> {
  const answer = await http.call({
    method: 'GET',
    path: buildPath(ref),
    query: { exclude_pipeline: 'true', ...query },
    key: `${priority}/get/${ref.id}`,
    priority,
    signal,
    maxBytes: buildCap,
  });
  if (isRefusal(answer)) {
    if (isGone(answer, ref)) return undefined;
    throw new ProviderError('Internal', `Buildkite did not show build ${ref.id} (${answer.status}): ${answer.reason}`);
  }
  const build = parseBuild(parseJson(answer.bytes));
  if (!build) throw unreadable(`build ${ref.id}`);
  // The number was given to another build: ours is gone.
  return build.id === ref.id ? build : undefined;
}

export function buildPath(ref: BuildRef, ...more: string[]): (string | number)[] {
  const { org, pipeline, number } = addressOf(ref);
  return ['organizations', org, 'pipelines', pipeline, 'builds', number, ...more];
}

/** A 404 about the organisation says that the token lost its way in, not that the build is gone. */
export function isGone({ status, reason }: Refusal, ref: BuildRef): boolean {
  if (status !== 404) return false;
  if (!/organi[sz]ation/i.test(reason)) return true;
  const { org } = addressOf(ref);
  throw new ProviderError(
    'TargetMissing',
    `the token cannot see the Buildkite organisation ${org} any more. Give its user access, then retry`,
  );
}

/** The build has ended, or is not there to end. */
export async function hasEnded(http: Http, ref: BuildRef, signal: AbortSignal): Promise<boolean> {
  const build = await getBuild(http, ref, 'cancel', signal);
  if (!build) return true;
  const seen = builtOf(build, ref)?.seen;
  return seen !== undefined && isEnd(seen.status);
}
