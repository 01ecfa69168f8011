import type { Traced, TraceRequest } from '../provider.ts';
import { builtOf, isFullHash, refOf, runTag } from './builds.ts';
import type { Http } from './http.ts';
import type { BuildkiteTarget } from './plan.ts';
import { type Identity, isCreator, listBuilds } from './search.ts';
import { type BuildkiteBuild, parseTime } from './wire.ts';

/** Clocks differ, and a trigger takes its time to come. */
const marginMs = 10 * 60_000;

/**
 * All builds that the CI has of a job, oldest first, found without any row of ours: what we made carries the job's
 * address and the tag of a run key, and what a person made from it names its origin. One list, by commit and time.
 */
export async function traceBuilds(
  http: Http,
  { spec, runKeys, since }: TraceRequest,
  target: BuildkiteTarget,
  identity: () => Promise<Identity>,
  signal: AbortSignal,
): Promise<Traced[]> {
  const commit = target.commit ?? spec.commit;
  const query = {
    created_from: new Date(since.getTime() - marginMs).toISOString(),
    ...(isFullHash(commit) ? { commit } : { 'meta_data[tack:pipeline_rkey]': spec.rkey }),
  };
  const { org, pipeline } = target;
  const key = `trace/${runKeys[0] ?? spec.rkey}`;
  const builds: BuildkiteBuild[] = [];
  for await (const build of listBuilds(http, { org, pipeline, query, key, priority: 'create', signal })) {
    builds.push(build);
  }
  if (builds.length === 0) return [];
  const us = await identity();
  const tags = new Map<unknown, (typeof runKeys)[number]>(runKeys.map((runKey) => [runTag(runKey), runKey]));
  return builds
    .sort((a, b) => (a.number ?? 0) - (b.number ?? 0))
    .flatMap((build): Traced[] => {
      const { meta_data: meta, rebuilt_from: origin } = build;
      const runKey = tags.get(meta['whorl_run']);
      const nonce = meta['whorl_nonce'];
      const ours = build.source === 'api' && origin === undefined && runKey !== undefined && isCreator(build, us);
      if (!ours && origin === undefined) return [];
      const ref = refOf(build, target);
      const built = builtOf(build, ref) ?? { ref, seen: { build: build.id, status: 'pending' as const, at: 0 } };
      const madeAt = parseTime(build.created_at);
      return [
        {
          ...built,
          ...(madeAt === undefined ? {} : { madeAt }),
          ...(ours ? { runKey } : { rebuiltFrom: origin?.id ?? '' }),
          ...(ours && typeof nonce === 'string' ? { nonce } : {}),
        },
      ];
    });
}
