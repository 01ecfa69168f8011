import { cancellationSignal } from '@temporalio/activity';
import type { Logger } from 'pino';
import { type PipelineId, type RunKey, runKey } from '../pipeline/ids.ts';
import { isEnd } from '../pipeline/status.ts';
import { placeBuilds, recalled } from '../pipeline/traced.ts';
import type { Provider, Traced } from '../providers/provider.ts';
import type { Sql } from '../store/db.ts';
import { extraCancelled } from '../store/builds.ts';
import { type LostJob, lostJobs } from '../store/restore.ts';
import { bindTraced, jobRecovered, type KnownAttempt, knownJob } from '../store/traced.ts';

export interface RecoverDeps {
  sql: Sql;
  providers: Record<string, Provider>;
  log: Logger;
}

/** Attempts of which builds are looked for beyond those that are known. */
const moreAttempts = 50;

/**
 * After a restore: finds the builds that the CI has of each job of a pipeline, also those whose rows were lost, and
 * writes them down as if they had been there. Each job counts once it is done, so that a repeat goes on from there.
 */
export async function recoverPipeline(deps: RecoverDeps, pipeline: PipelineId): Promise<void> {
  for (const lost of await lostJobs(deps.sql, pipeline)) await recoverJob(deps, pipeline, lost);
}

/** The same for one job. Costs one list of the CI's builds. */
export async function recoverJob(deps: RecoverDeps, pipeline: PipelineId, lost: LostJob): Promise<void> {
  const { sql, log } = deps;
  const { job, restore, end } = lost;
  const key = { pipeline, job };
  const known = await knownJob(sql, key);
  const madeAt = new Map<string, number | undefined>();
  if (known.spec) {
    const provider = Object.hasOwn(deps.providers, known.spec.provider)
      ? deps.providers[known.spec.provider]
      : undefined;
    const last = Math.max(1, ...known.attempts.map(({ attempt }) => attempt));
    const keys = Array.from({ length: last + moreAttempts }, (_, n) => runKey(pipeline, job, n + 1));
    const traced =
      (await provider?.trace?.({ spec: known.spec, runKeys: keys, since: lost.since }, cancellationSignal())) ?? [];
    for (const one of traced) madeAt.set(one.ref.id, one.madeAt);
    if (provider) await takeIn(deps, provider, key, { traced, keys, attempts: known.attempts });
  }
  if (restore === null) return;

  const { attempts } = await knownJob(sql, key);
  const bound = attempts.flatMap(({ attempt, build }) =>
    build === null ? [] : [{ attempt, build, madeAt: madeAt.get(build) }],
  );
  // It was given out, or was to be stopped, and the workflow that was to carry it out is gone.
  const planned = attempts.findLast(({ build, asked, stopped }) => build === null && (asked || stopped));
  // Nothing is known of it, so it begins as if it had never begun.
  if (known.state === null && bound.length === 0 && end === null && !planned)
    return jobRecovered(sql, key, { state: null, restore });
  const state = {
    job: recalled(known.state?.job, bound, end ?? undefined, planned),
    attempts: Math.max(known.state?.attempts ?? 1, ...attempts.map(({ attempt }) => attempt)),
    note: known.state?.note ?? null,
  };
  await jobRecovered(sql, key, { state, restore });
  log.info({ pipeline, job, builds: bound.map(({ build }) => build) }, 'a job was found again after a restore');
}

interface Found {
  traced: Traced[];
  keys: RunKey[];
  attempts: KnownAttempt[];
}

async function takeIn(
  { sql, log }: RecoverDeps,
  provider: Provider,
  key: { pipeline: PipelineId; job: string },
  { traced, keys, attempts }: Found,
): Promise<void> {
  const of = new Map(traced.map((one) => [one.ref.id, one]));
  const placed = placeBuilds(
    attempts,
    traced.map(({ ref, seen, runKey: ours, rebuiltFrom }) => ({
      build: ref.id,
      status: seen.status,
      ...(ours === undefined ? {} : { attempt: keys.indexOf(ours) + 1 }),
      ...(rebuiltFrom === undefined ? {} : { rebuiltFrom }),
    })),
  );
  const extra = [...placed.extra];
  for (const { attempt, build, rebuiltFrom } of placed.bound) {
    const one = of.get(build);
    if (!one) continue;
    const found = { attempt, provider: provider.name, ref: one.ref, nonce: one.nonce, rebuiltFrom };
    const mine = await bindTraced(sql, key, found);
    if (!mine && rebuiltFrom === undefined && !isEnd(one.seen.status)) extra.push(build);
  }
  for (const build of extra) {
    const one = of.get(build);
    if (!one) continue;
    log.warn({ ...key, build }, 'cancelling an extra build');
    await provider.cancel(one.ref, cancellationSignal());
    await extraCancelled(sql, provider.name, build);
  }
  // The workflow that was to stop it is gone, and may not have come to it.
  const last = attempts.at(-1);
  const going = last?.stopped && last.build !== null ? of.get(last.build) : undefined;
  if (going && !isEnd(going.seen.status)) await provider.cancel(going.ref, cancellationSignal());
}
