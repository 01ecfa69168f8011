import { z } from 'zod';
import { isDid, isHost, isRecordKey } from '../forges/tangled/names.ts';
import { NSID } from '../forges/tangled/nsid.ts';
import { invalid } from './xrpc-error.ts';

/** A repository as a caller names it: by its record, or by its own DID. */
export type AskedRepository = { owner: string; rkey: string } | { repoDid: string };

/** What is asked of a pipeline, in one form, whichever it came in. */
export interface AskedOfPipeline {
  repo: AskedRepository;
  /** `knot`: lower-cased; absent when the caller gives the key alone. */
  pipeline: { rkey: string; knot?: string };
  /** Names of jobs; absent: all. */
  workflows?: string[];
}

const maxWorkflows = 50;
const shape = z.object({
  repo: z.string({ error: 'repo is missing: it must be the at-uri of the repository, or its DID' }),
  pipeline: z.string({ error: 'pipeline is missing: it must be the at-uri of the pipeline, or its record key' }),
  workflow: z.string({ error: 'workflow must be the name of a workflow file' }).max(255).nullish(),
  workflows: z
    .array(z.string().max(255), { error: 'workflows must be a list of names of workflow files' })
    .max(maxWorkflows, `workflows must be at most ${maxWorkflows} names`)
    .nullish(),
});

/**
 * Reads what appviews of all generations send to cancel a pipeline, and to run it again: `repo` as an at-uri or a DID,
 * `pipeline` as an at-uri or a key, `workflow`, `workflows` or neither. Throws `XrpcRefusal`.
 */
export function readAsked(input: unknown): AskedOfPipeline {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) throw invalid('the body must be an object');
  const parsed = shape.safeParse(input);
  if (!parsed.success) throw invalid(parsed.error.issues[0]?.message ?? 'the body is not what the method takes');
  const { repo, pipeline, workflow, workflows } = parsed.data;
  // Go peers send "" and null where they have nothing to say.
  const names = [...new Set([...(workflows ?? []), workflow ?? ''])].filter((name) => name !== '');
  return {
    repo: repositoryOf(repo),
    pipeline: pipelineOf(pipeline),
    ...(names.length > 0 ? { workflows: names } : {}),
  };
}

function repositoryOf(text: string): AskedRepository {
  if (isDid(text)) return { repoDid: text };
  const uri = partsOf(text);
  if (uri?.collection === NSID.repo && isDid(uri.authority)) return { owner: uri.authority, rkey: uri.rkey };
  throw invalid('repo must be the at-uri of a sh.tangled.repo record, with the DID of its owner, or the DID of a repo');
}

/** Records of newer kinds are not on a knot, so only their keys say something here. */
function pipelineOf(text: string): AskedOfPipeline['pipeline'] {
  if (isRecordKey(text) && !text.startsWith('at:')) return { rkey: text };
  const uri = partsOf(text);
  if (uri?.collection === 'sh.tangled.ci.pipeline') return { rkey: uri.rkey };
  const knot = /^did:web:(.+)$/
    .exec(uri?.authority ?? '')?.[1]
    ?.replaceAll(/%3a/gi, ':')
    .toLowerCase();
  if (uri?.collection === NSID.pipeline && knot !== undefined && isHost(knot)) return { rkey: uri.rkey, knot };
  throw invalid('pipeline must be at://did:web:<knot>/sh.tangled.pipeline/<key>, or the key alone');
}

function partsOf(text: string): { authority: string; collection: string; rkey: string } | undefined {
  const [, authority, collection, rkey] = /^at:\/\/([^/\s]+)\/([^/\s]+)\/([^/\s]+)$/.exec(text) ?? [];
  if (!authority || !collection || !rkey || !isRecordKey(rkey)) return undefined;
  return { authority, collection, rkey };
}
