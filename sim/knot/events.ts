import { randomBytes } from 'node:crypto';

/** What somebody pushed, or asked to run. Everything but the repository and the workflow files has a default. */
export type Push = {
  repo: { did: string; name: string; repoDid?: string; defaultBranch?: string };
  /** the workflow files that match; a real knot looks at `when`, here the caller did. None: no pipeline event */
  workflows: { name: string; raw: string; engine?: string; clone?: object }[];
  /** default `refs/heads/main` */
  ref?: string;
  /** default random; 40 zeros are a deletion */
  newSha?: string;
  /** default 40 zeros: a new ref */
  oldSha?: string;
  /** default `push`; the others come without a refUpdate */
  kind?: 'push' | 'pull_request' | 'manual';
  pullRequest?: { sourceBranch: string; targetBranch: string; action?: string; pull?: string };
  inputs?: { key: string; value: string }[];
  /** who pushed; default the owner */
  committerDid?: string;
  /** the knot that the trigger names; another than the sender's is a forgery */
  knot?: string;
  /** rkey of the pipeline event; default a fresh TID */
  rkey?: string;
  /** sends the pipeline event even when no workflow matches, as some knots do */
  evenIfEmpty?: boolean;
};

export const ZERO_SHA = '0'.repeat(40);

export const randomSha = (): string => randomBytes(20).toString('hex');

// The bodies below have the keys of the captured frames, in their order, with the empty `$type` of Go's encoder.

/** A `sh.tangled.git.refUpdate`; what it calls `repoDid` is the owner. */
export function refUpdateEvent(push: Push, sha: string): object {
  return {
    $type: '',
    committerDid: push.committerDid ?? push.repo.did,
    meta: {
      commitCount: { byEmail: [{ count: 1, email: 'dev@example.com' }] },
      isDefaultRef: refOf(push) === 'refs/heads/main',
      langBreakdown: {},
    },
    newSha: sha,
    oldSha: push.oldSha ?? ZERO_SHA,
    ref: refOf(push),
    repoDid: push.repo.did,
    repoName: push.repo.name,
  };
}

/** A `sh.tangled.pipeline` with the trigger of its kind. */
export function pipelineEvent(push: Push, sha: string, knot: string): object {
  const { did, name, repoDid, defaultBranch = '' } = push.repo;
  return {
    $type: '',
    triggerMetadata: {
      kind: push.kind ?? 'push',
      ...bodyOf(push, sha),
      repo: { defaultBranch, did, knot: push.knot ?? knot, repo: name, ...(repoDid && { repoDid }) },
    },
    workflows: push.workflows.map((workflow) => ({
      clone: workflow.clone ?? { depth: 0, skip: false, submodules: false },
      engine: workflow.engine ?? 'tack',
      name: workflow.name,
      raw: workflow.raw,
    })),
  };
}

function bodyOf(push: Push, sha: string): object {
  switch (push.kind ?? 'push') {
    case 'push':
      return { push: { newSha: sha, oldSha: push.oldSha ?? ZERO_SHA, ref: refOf(push) } };
    case 'pull_request':
      return {
        pullRequest: {
          action: 'create',
          sourceBranch: 'feature',
          targetBranch: 'main',
          ...push.pullRequest,
          sourceSha: sha,
        },
      };
    case 'manual':
      return { manual: { sha, ref: refOf(push), inputs: push.inputs ?? [] } };
  }
}

const refOf = (push: Push): string => push.ref ?? 'refs/heads/main';
