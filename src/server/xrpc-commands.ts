import type { Logger } from 'pino';
import { ClientError } from '../clients/error.ts';
import type { Knot } from '../clients/knot.ts';
import { judge, recordsOf } from '../pipeline/access.ts';
import { factsOf } from '../store/access.ts';
import { type AskedPipeline, pipelinesOfKey } from '../store/asked.ts';
import { collaboratorsOf } from '../store/collaborators.ts';
import type { Sql } from '../store/db.ts';
import { spendToken } from '../store/service-tokens.ts';
import type { Caller } from './auth.ts';
import type { Procedure } from './xrpc.ts';
import { invalid, later, XrpcRefusal } from './xrpc-error.ts';
import { type AskedOfPipeline, type AskedRepository, readAsked } from './xrpc-input.ts';

export interface CommandDeps {
  sql: Sql;
  log: Logger;
  /** The DID of whoever runs this spindle. */
  owner: string;
  knot: Knot;
}

/** A knot that is asked whom it lets work in a repository must answer within this, ms. */
const knotMs = 4_000;

/**
 * Cancel and rerun, as Tangled's appviews call them. Each writes command rows, which dispatch carries to the workflow:
 * the answer means that they are durable. What has nothing to act upon is answered in the same way, as stock spindles do.
 */
export function commandProcedures(deps: CommandDeps): Record<string, Procedure> {
  const cancel: Procedure = async (caller, input) => {
    await ask(deps, 'cancel', caller, readAsked(input));
    return undefined;
  };
  return {
    'sh.tangled.pipeline.cancelPipeline': cancel,
    'sh.tangled.ci.pipeline.cancelPipeline': cancel,
    'sh.tangled.ci.cancelPipeline': cancel,
    // Generations A to C have no method for this; the next one calls it so. The same pipeline runs again.
    'org.tangled.ci.retryPipeline': async (caller, input) => {
      const asked = readAsked(input);
      await ask(deps, 'rerun', caller, asked);
      return { pipeline: asked.pipeline.rkey };
    },
  };
}

async function ask(deps: CommandDeps, kind: 'cancel' | 'rerun', caller: Caller, asked: AskedOfPipeline): Promise<void> {
  const { sql, log } = deps;
  const { did, token } = caller;
  const found = await findPipeline(sql, asked);
  if (!found || !(await mayAct(deps, did, found))) throw notFound();
  const { pipeline } = found;
  const unknown = asked.workflows?.find((name) => !pipeline.jobs.includes(name));
  if (unknown !== undefined)
    throw invalid(`the pipeline has no workflow of that name; it has: ${pipeline.jobs.join(', ')}`);
  if (kind === 'rerun' && did !== deps.owner) await checkServed(sql, pipeline);

  const jobs: (string | undefined)[] = asked.workflows ?? [undefined];
  const commands = jobs.map((job, n) => ({
    id: `xrpc/${token.id}/${n}`,
    pipeline: pipeline.id,
    kind,
    job,
    by: did,
  }));
  if (!(await spendToken(sql, token, commands))) throw usedBefore();
  log.info({ pipeline: pipeline.id, kind, by: did, jobs: asked.workflows }, `${kind} asked for by XRPC`);
}

interface Found {
  pipeline: AskedPipeline;
  /** The key of the repository's record; undefined when none is known. */
  record: string | undefined;
}

/** The pipeline of this key that is of this repository. */
async function findPipeline(sql: Sql, { repo, pipeline }: AskedOfPipeline): Promise<Found | undefined> {
  for (const each of await pipelinesOfKey(sql, pipeline)) {
    const own = recordsOf({ name: each.name, repoDid: each.repoDid ?? undefined }, each.records);
    const record = own.find((one) => isNamed(repo, each, one));
    if (record) return { pipeline: each, record: record.rkey };
    if (own.length === 0 && isNamed(repo, each)) return { pipeline: each, record: undefined };
  }
  return undefined;
}

/** Whether the caller's words name the repository of a pipeline. One without a known record is pinned, and has its name. */
function isNamed(repo: AskedRepository, pipeline: AskedPipeline, record?: AskedPipeline['records'][number]): boolean {
  if ('repoDid' in repo) return repo.repoDid === (pipeline.repoDid ?? record?.repoDid);
  return repo.owner === pipeline.did && repo.rkey === (record?.rkey ?? pipeline.name);
}

/** The repository's owner, those whom they or their knot let work in it, and whoever runs this spindle. */
async function mayAct(deps: CommandDeps, did: string, { pipeline, record }: Found): Promise<boolean> {
  const { sql, owner } = deps;
  if (did === owner || did === pipeline.did) return true;
  const own = record === undefined ? [] : await collaboratorsOf(sql, { did: pipeline.did, rkey: record });
  return own.includes(did) || (await isKnownToKnot(deps, did, pipeline));
}

/** Newer knots hold collaborators themselves, by the repository's own DID. Only the knot that it lives on is asked. */
async function isKnownToKnot({ knot, log }: CommandDeps, did: string, { knot: host, repoDid }: AskedPipeline) {
  if (repoDid === null) return false;
  try {
    return (await knot.collaboratorsOf(host, repoDid, AbortSignal.timeout(knotMs))).includes(did);
  } catch (error) {
    log.warn({ knot: host, repo: repoDid, err: error }, 'a knot does not say whom it lets work in a repository');
    if (error instanceof ClientError && ['refused-address', 'garbage', 'tooBig'].includes(error.kind)) return false;
    throw later('the knot of the repository cannot be asked now whether you may; try again');
  }
}

/** A rerun makes builds, so the repository must still be one that may run here. */
async function checkServed(sql: Sql, { knot, did, name, repoDid }: AskedPipeline): Promise<void> {
  const asked = { knot, did, name, repoDid: repoDid ?? undefined };
  const verdict = judge(asked, await factsOf(sql, asked));
  if (!verdict.served) throw new XrpcRefusal({ status: 400, error: 'AccessControl', message: verdict.reason });
}

/** The same for everybody who may not, so that nobody learns what there is. */
const notFound = (): XrpcRefusal =>
  new XrpcRefusal({
    status: 400,
    error: 'PipelineNotFound',
    message:
      'there is no such pipeline in this repository, or you may not act upon it: its owner and its collaborators may',
  });

const usedBefore = (): XrpcRefusal =>
  new XrpcRefusal({
    status: 403,
    error: 'Auth',
    message: 'signature verification failed: this token was used before; get another one',
  });
