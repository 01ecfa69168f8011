import { tidAt, tidTime } from '../forges/tangled/tid.ts';
import { parsePipeline, type PipelineTrigger } from '../forges/tangled/trigger.ts';
import { triggers } from '../metrics/index.ts';
import { type AskedRepo, beforeChoiceMs, judge, repoName, type Verdict } from '../pipeline/access.ts';
import { type PipelineId, pipelineId } from '../pipeline/ids.ts';
import { type PlannedJob, planJobs, titleOf } from '../pipeline/plan.ts';
import type { Json } from '../providers/provider.ts';
import { insertPipeline, loadPipeline, type NewPipeline } from '../store/pipelines.ts';
import { askForListing } from '../store/accounts.ts';
import { supersede } from '../store/supersede.ts';
import { factsOf } from '../store/access.ts';
import { isBadValue } from '../store/db.ts';
import { holdTrigger, type OpenTrigger, refuseTrigger, settleTrigger } from '../store/work.ts';
import { recordSpan, traceNow } from '../tracing/index.ts';
import type { DispatchDeps } from './dispatch-deps.ts';
import { inputFor, jobInput, openAgain } from './dispatch-input.ts';

/**
 * Decides about one trigger, and starts its workflow. Done again after a crash it leads to the same rows and the same
 * workflow. Returns when one that has to wait is to be looked at again, ms from now.
 */
export async function dispatchTrigger(deps: DispatchDeps, row: OpenTrigger): Promise<number | undefined> {
  const { sql, log } = deps;
  const id = pipelineId(row.knot, row.rkey);
  const about: Record<string, string> = { knot: row.knot, rkey: row.rkey };
  const settle = async (state: 'started' | 'ended' | 'refused', reason: string | null): Promise<undefined> => {
    await settleTrigger(sql, row, state, reason);
    triggers.inc({ outcome: state });
    recordSpan({
      pipeline: id,
      epoch: 0,
      is: 'root',
      name: 'trigger',
      said: { ...about, state },
      start: row.receivedAt.getTime(),
      end: traceNow(),
    });
    log.info({ pipeline: id, ...about, state, reason }, `trigger ${state}`);
  };

  const parsed = parsePipeline(row.body);
  if (!parsed.ok) return settle('refused', parsed.reason);
  const { trigger } = parsed;
  if (trigger.repo.knot !== row.knot)
    return settle('refused', `The event names the knot ${trigger.repo.knot}, but it came from ${row.knot}.`);

  const { did, name } = trigger.repo;
  Object.assign(about, { repo: `${did}/${name}`, kind: trigger.kind, commit: trigger.commit });
  const asked = { ...trigger.repo, knot: row.knot };
  let verdict = row.facts && judge(asked, row.facts);
  // A no is worth a second question, which also brings what explains it.
  if (!verdict?.served) verdict = judge(asked, await factsOf(sql, asked));
  if (!verdict.served) return notServed(deps, row, asked, verdict);
  if (row.eventAt && row.eventAt.getTime() < verdict.since - beforeChoiceMs)
    return settle(
      'refused',
      'It happened before the choice: its repository counts since ' +
        `${new Date(verdict.since).toISOString()}, and it is of ${row.eventAt.toISOString()}.`,
    );
  if (trigger.workflows.length === 0) return settle('ended', 'No workflow file matched.');

  const planned = planJobs(neutral(row, trigger), deps.planners);
  const pipeline = newPipeline(id, row, trigger, planned);
  try {
    await insertPipeline(sql, pipeline);
  } catch (error) {
    // It would refuse the same tomorrow, and nobody would know why nothing comes of the push.
    if (!isBadValue(error)) throw error;
    return settle('refused', `PostgreSQL cannot store what the event says: ${error.message}`);
  }
  // Its workflow may have run before, with rows that this database lost: then they are found again first.
  const stored = row.restored ? await loadPipeline(sql, id) : undefined;
  if (stored) await openAgain(deps, stored, 'the database was restored');
  else await deps.engine.start(inputFor(deps, id, planned.map(jobInput(deps))), { ...pipeline, did, repo: name });
  if (pipeline.jobs.some((job) => job.supersede)) {
    for (const { old, job, by } of await supersede(sql, id))
      log.info({ pipeline: old, job, by }, 'job cancelled: a newer push has made it superfluous');
  }
  return settle('started', leftOut(trigger));
}

/** Workflow files that no job was made of. */
const leftOut = ({ dropped }: PipelineTrigger): string | null =>
  dropped === 0
    ? null
    : `${dropped} of its workflow files ${dropped === 1 ? 'was' : 'were'} left out: without a name, or with one of more than 255 characters.`;

/** Not knowing is not a no: the trigger waits for a record that may be late, and is judged again when one comes. */
async function notServed(
  { sql, log, holdMs }: DispatchDeps,
  row: OpenTrigger,
  asked: AskedRepo,
  { reason, mayAsk }: Verdict & { served: false },
): Promise<number | undefined> {
  const { knot, rkey } = row;
  const about = { pipeline: pipelineId(knot, rkey), knot, rkey, repo: repoName(asked), reason };
  if (row.overdue) {
    if (await refuseTrigger(sql, row, about)) {
      triggers.inc({ outcome: 'refused' });
      log.info({ ...about, state: 'refused' }, 'trigger refused');
    }
    return undefined;
  }
  const again = await holdTrigger(sql, row, { ...about, holdMs });
  if (row.state === 'new') triggers.inc({ outcome: 'held' });
  log[row.state === 'new' ? 'info' : 'debug']({ ...about, state: 'held' }, 'trigger held, in case it is chosen');
  if (mayAsk) await askForListing(sql, asked.did);
  return again;
}

const neutral = ({ knot, rkey }: OpenTrigger, trigger: PipelineTrigger) => ({
  knot,
  rkey,
  kind: trigger.kind,
  repo: { did: trigger.repo.did, name: trigger.repo.name },
  commit: trigger.commit,
  branch: branchOf(trigger),
  ...(trigger.tag === undefined ? {} : { tag: trigger.tag }),
  workflows: trigger.workflows,
});

/** What a CI files a build under; a tag build has the tag's name there, as other forges do it. */
const branchOf = ({ branch, tag, ref, repo }: PipelineTrigger): string =>
  branch ?? tag ?? ref ?? (repo.defaultBranch || 'HEAD');

/** When a push happened: what the knot stamped, which is the key of its event; else the best that we know. */
const stampOf = ({ rkey, eventAt, receivedAt }: OpenTrigger): string =>
  tidTime(rkey) === undefined ? tidAt((eventAt ?? receivedAt).getTime()) : rkey;

function newPipeline(id: PipelineId, row: OpenTrigger, trigger: PipelineTrigger, planned: PlannedJob[]): NewPipeline {
  const { knot, rkey, kind, repo, commit, branch, tag } = neutral(row, trigger);
  const title = titleOf({ kind, branch, commit, ...(tag === undefined ? {} : { tag }) });
  const about = { knot, rkey, repo, kind, commit, branch };
  const toBranch = kind === 'push' && trigger.branch !== undefined;
  const supersedes = toBranch && planned.some((job) => 'supersede' in job);
  return {
    id,
    ...about,
    repo: { ...repo, repoDid: trigger.repo.repoDid },
    tag: trigger.branch === undefined && tag !== undefined,
    ...(supersedes ? { stamp: stampOf(row) } : {}),
    title,
    happenedAt: row.eventAt,
    jobs: planned.map(({ name, provider, target, refusal, ...more }) => ({
      name,
      provider,
      refusal: refusal ?? null,
      supersede: toBranch && 'supersede' in more,
      spec:
        refusal === undefined && provider !== null
          ? {
              ...about,
              provider,
              target: target as Json,
              job: name,
              message: title,
              ...(tag === undefined ? {} : { tag }),
            }
          : null,
    })),
  };
}
