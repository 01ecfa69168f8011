import { createHash } from 'node:crypto';
import type { RunKey } from '../../pipeline/ids.ts';
import type { Observation } from '../../pipeline/words.ts';
import { ProviderError } from '../errors.ts';
import type { BuildRef, Built, CreateRequest } from '../provider.ts';
import type { BuildkiteTarget } from './plan.ts';
import { observe, onBlockKey } from './state.ts';
import { type Address, type BuildkiteBuild, parseAddress, parseTime } from './wire.ts';

/** The key of a run in meta_data: short, plain, and the same for every POST of the run. */
export const runTag = (key: RunKey): string => createHash('sha256').update(key).digest('hex').slice(0, 32);

/** Only a full hash stays as it is; Buildkite may replace `HEAD` or a name by what an agent finds. */
export const isFullHash = (commit: string): boolean => /^[0-9a-f]{40}([0-9a-f]{24})?$/i.test(commit);

/**
 * The body of CreateBuild. The three `tack:*` keys are as tack writes them; the author of the workflow file may
 * overrule variables but no keys. Everything here can be read in Buildkite's pages, so it holds no secret.
 */
export function createBody({ runKey, nonce, spec }: CreateRequest, target: BuildkiteTarget): Record<string, unknown> {
  const commit = target.commit ?? spec.commit;
  const branch = target.branch ?? spec.branch;
  return {
    commit,
    branch,
    message: target.message ?? spec.message,
    env: {
      TACK_KNOT: spec.knot,
      TACK_PIPELINE_RKEY: spec.rkey,
      TACK_WORKFLOW: spec.job,
      TACK_COMMIT: commit,
      TACK_BRANCH: branch,
      ...target.env,
    },
    meta_data: {
      ...target.meta_data,
      'tack:knot': spec.knot,
      'tack:pipeline_rkey': spec.rkey,
      'tack:workflow': spec.job,
      whorl_run: runTag(runKey),
      whorl_nonce: nonce,
      ...(target.on_block && target.on_block !== 'running' ? { [onBlockKey]: target.on_block } : {}),
    },
    // Pipelines for a spindle have their own triggers off, and then refuse every branch (422) without this.
    ignore_pipeline_branch_filters: true,
    ...(target.clean_checkout === undefined ? {} : { clean_checkout: target.clean_checkout }),
  };
}

/** The ref of a build that an answer of Buildkite shows. */
export function refOf(build: BuildkiteBuild, { org, pipeline }: { org: string; pipeline: string }): BuildRef {
  const created = parseTime(build.created_at);
  return {
    id: build.id,
    number: build.number ?? null,
    url: build.web_url ?? null,
    data: { org, pipeline, ...(created === undefined ? {} : { created }) },
  };
}

/** The build with what it says, or undefined when its state means nothing to us. */
export function builtOf(build: BuildkiteBuild, ref: BuildRef): Built | undefined {
  const seen = observe(build);
  return seen && { ref, seen };
}

/** A build that Buildkite no longer has will never end by itself. */
export function goneOf(ref: BuildRef): Built {
  const seen: Observation = { build: ref.id, status: 'cancelled', at: 0, error: 'the build is gone from Buildkite' };
  return { ref, seen };
}

/** Where a build is, as calls need it. */
export function addressOf(ref: BuildRef): Address & { number: number } {
  const address = parseAddress(ref.data);
  if (!address || ref.number === null) {
    throw new ProviderError('Internal', `the stored address of Buildkite build ${ref.id} cannot be read`);
  }
  return { ...address, number: ref.number };
}
