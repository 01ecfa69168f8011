import { z } from 'zod';
import { quote } from './quote.ts';

/** One workflow file as the knot read it at the pushed commit. */
export type TriggerWorkflow = {
  /** file name with extension; the job's name, kept byte for byte */
  name: string;
  /** the whole YAML text, of any size */
  raw: string;
  engine?: string;
  clone?: { skip: boolean; depth: number; submodules: boolean };
};

/** A `sh.tangled.pipeline` event, with what is absent, empty or null on the wire left out. */
export type PipelineTrigger = {
  /** what asked for CI; newer peers may send other words */
  kind: 'push' | 'pull_request' | 'manual' | (string & {});
  repo: {
    /** host of the knot, with its port */
    knot: string;
    /** the owner */
    did: string;
    /** empty if only `repoDid` identifies the repository; newer peers may put the record's rkey here */
    name: string;
    /** the repository's own DID (generation B) */
    repoDid?: string;
    defaultBranch?: string;
  };
  /** 40 lower-case hex digits; for an annotated tag the tag object, not its commit */
  commit: string;
  ref?: string;
  /** from `refs/heads/…`, or the source branch of a pull request */
  branch?: string;
  tag?: string;
  /** what the ref pointed at before; absent for a new one */
  oldSha?: string;
  pullRequest?: { sourceBranch: string; targetBranch: string; action?: string; pull?: string };
  inputs?: { key: string; value: string }[];
  workflows: TriggerWorkflow[];
  /** entries of `workflows` that had no name, or one that no file can have, or were no object */
  dropped: number;
  /** entries that had the name of an earlier one */
  duplicates: number;
};

export type ParsedPipeline = { ok: true; trigger: PipelineTrigger } | { ok: false; reason: string };

// Go peers write "" and null where a field is absent, and a field that we can do without must not cost a build:
// whatever is not the wanted type counts as absent.
const text = z.string().catch('');
const flag = z.boolean().catch(false);

const push = z.object({ ref: text, newSha: text, oldSha: text }).optional().catch(undefined);
const pullRequest = z
  .object({ sourceBranch: text, targetBranch: text, sourceSha: text, action: text, pull: text })
  .optional()
  .catch(undefined);
const inputs = z.array(z.object({ key: text, value: text }).catch({ key: '', value: '' })).catch([]);
const manual = z.object({ sha: text, ref: text, inputs }).optional().catch(undefined);
const repo = z.object({ knot: text, did: text, repo: text, repoDid: text, defaultBranch: text });
const metadata = z.object({ kind: text, repo: repo.optional().catch(undefined), push, pullRequest, manual });
const pipeline = z.object({
  triggerMetadata: metadata.optional().catch(undefined),
  workflows: z.array(z.unknown()).nullish(),
});
const clone = z.object({ skip: flag, depth: z.int().nonnegative().catch(0), submodules: flag });
/** No file system has longer names, and an index of PostgreSQL holds 2.7 KB: a longer one could not be stored at all. */
const longestName = 255;
const workflow = z.object({
  name: z.string().min(1).max(longestName),
  raw: text,
  engine: text,
  clone: clone.optional().catch(undefined),
});

type Metadata = z.infer<typeof metadata>;

/** Reads a `sh.tangled.pipeline` event, leniently; a refusal says in words what it lacks. */
export function parsePipeline(event: unknown): ParsedPipeline {
  const parsed = pipeline.safeParse(event);
  if (!parsed.success) {
    const badList = parsed.error.issues.some((issue) => issue.path[0] === 'workflows');
    return refuse(badList ? 'its workflows are not a list' : 'the event is not an object');
  }
  const meta = parsed.data.triggerMetadata;
  if (!meta) return refuse('it has no trigger metadata');

  const where = readRepo(meta);
  if (typeof where === 'string') return refuse(where);
  const what = readSource(meta);
  if (typeof what === 'string') return refuse(what);

  return { ok: true, trigger: { repo: where, ...what, ...readWorkflows(parsed.data.workflows ?? []) } };
}

const refuse = (reason: string): ParsedPipeline => ({ ok: false, reason });

function readRepo({ repo }: Metadata): PipelineTrigger['repo'] | string {
  if (!repo) return 'it names no repository';
  if (!repo.knot) return 'its repository has no knot';
  if (!repo.did) return 'its repository has no owner DID';
  if (!repo.did.startsWith('did:')) return `its repository's owner ${quote(repo.did)} is not a DID`;
  if (!repo.repo && !repo.repoDid) return 'its repository has neither a name nor a DID';
  return {
    knot: repo.knot,
    did: repo.did,
    name: repo.repo,
    ...(repo.repoDid && { repoDid: repo.repoDid }),
    ...(repo.defaultBranch && { defaultBranch: repo.defaultBranch }),
  };
}

type Source = Omit<PipelineTrigger, 'repo' | 'workflows' | 'dropped' | 'duplicates'>;

/** What was pushed or asked for. The body that the kind names counts; for an unknown kind, whichever is there. */
function readSource(meta: Metadata): Source | string {
  const { push, pullRequest, manual } = meta;
  const told = meta.kind || (push ? 'push' : pullRequest ? 'pull_request' : manual ? 'manual' : '');
  // It is a word, and stands in titles and reasons.
  const kind = told.slice(0, 64).toWellFormed();
  if (!kind) return 'its trigger has no kind';
  const known = kind === 'push' || kind === 'pull_request' || kind === 'manual';
  const isPush = known ? kind === 'push' : push !== undefined;
  const isPull = known ? kind === 'pull_request' : !isPush && pullRequest !== undefined;

  const sha = (isPush ? push?.newSha : isPull ? pullRequest?.sourceSha : manual?.sha) ?? '';
  const commit = sha.toLowerCase();
  if (!commit) return `its ${kind} trigger names no commit`;
  if (!SHA.test(commit)) return `its commit ${quote(sha)} is not 40 hex digits`;
  if (ZEROS.test(commit)) return 'it is about a deleted ref, so there is no commit to build';

  if (isPull) {
    if (!pullRequest) return `its ${kind} trigger names no commit`;
    const { sourceBranch, targetBranch, action, pull } = pullRequest;
    const request = { sourceBranch, targetBranch, ...(action && { action }), ...(pull && { pull }) };
    return { kind, commit, ...(sourceBranch && { branch: sourceBranch }), pullRequest: request };
  }
  const ref = (isPush ? push?.ref : manual?.ref) ?? '';
  const branch = after('refs/heads/', ref);
  const tag = after('refs/tags/', ref);
  const oldSha = isPush && push && SHA.test(push.oldSha) && !ZEROS.test(push.oldSha) ? push.oldSha : '';
  const asked = isPush ? [] : (manual?.inputs ?? []).filter((input) => input.key !== '');
  return {
    kind,
    commit,
    ...(ref && { ref }),
    ...(branch && { branch }),
    ...(tag && { tag }),
    ...(oldSha && { oldSha }),
    ...(asked.length > 0 ? { inputs: asked } : {}),
  };
}

function readWorkflows(entries: unknown[]): Pick<PipelineTrigger, 'workflows' | 'dropped' | 'duplicates'> {
  const byName = new Map<string, TriggerWorkflow>();
  let dropped = 0;
  let duplicates = 0;
  for (const entry of entries) {
    const { success, data } = workflow.safeParse(entry);
    if (!success) {
      dropped++;
    } else if (byName.has(data.name)) {
      duplicates++;
    } else {
      const { name, raw, engine, clone } = data;
      byName.set(name, { name, raw, ...(engine && { engine }), ...(clone ? { clone } : {}) });
    }
  }
  return { workflows: [...byName.values()], dropped, duplicates };
}

const SHA = /^[0-9a-f]{40}$/;
const ZEROS = /^0+$/;

const after = (prefix: string, ref: string): string => (ref.startsWith(prefix) ? ref.slice(prefix.length) : '');
