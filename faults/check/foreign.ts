import type { SentDelivery } from '../evidence.ts';
import {
  type AttemptRow,
  type Books,
  buildName,
  claimOf,
  isOurs,
  jobKey,
  pipelineId,
  tagOf,
  wasAccepted,
} from './books.ts';
import { at, each, type Finding, type Invariant } from './finding.ts';

/** 4: what others make, or make up, has no say. */
export const foreign: Invariant = {
  number: 4,
  name: 'There is no status for a foreign or forged build.',
  look(books) {
    const { evidence } = books;
    const bound = evidence.tables.attempts.filter(({ build }) => build !== null);
    const forged = evidence.ci.deliveries.filter((delivery) => delivery.forged);
    const findings = [
      ...each(bound, (attempt) => boundToAnother(books, attempt)),
      ...each(forged, (delivery) => believed(books, delivery)),
      ...uninvited(books),
      ...cancelledAnother(books),
    ];
    return { checked: bound.length + forged.length + evidence.tables.statuses.length, findings };
  },
};

/** A bound build is one that we made for just this attempt, or one that a person made from such a build. */
function* boundToAnother(books: Books, attempt: AttemptRow): Generator<Finding> {
  const id = attempt.build ?? '';
  if (books.posts.get(id)?.provider === 'fake') return;
  const why = strangeness(books, attempt);
  if (why === undefined) return;
  const what = `${attempt.pipeline} ${attempt.job}, attempt ${attempt.attempt}, is bound to build ${id}`;
  yield { kind: 'bound', text: `${what}, ${why}.` };
}

function strangeness({ builds, boundTo, evidence }: Books, attempt: AttemptRow): string | undefined {
  const build = builds.get(attempt.build ?? '');
  if (!build) return 'which the CI does not have';
  const { pipeline, job } = attempt;
  if (attempt.adopted_from !== null) {
    const origin = boundTo.get(attempt.adopted_from);
    if (build.rebuiltFrom?.id !== attempt.adopted_from) return `which was not made from ${attempt.adopted_from}`;
    const same = origin?.pipeline === pipeline && origin.job === job;
    return same ? undefined : `which was made from ${attempt.adopted_from}, and that is not of this job`;
  }
  if (!isOurs(build, evidence.ci.user))
    return `which ${build.creator?.name ?? 'nobody'} made (${build.source}), and not we`;
  const claim = claimOf(build);
  if (claim.pipeline !== pipeline || claim.job !== job) return `which we made for ${claim.pipeline} ${claim.job}`;
  const right = build.metaData['whorl_run'] === tagOf(pipeline, job, attempt.attempt);
  return right ? undefined : 'which we made for another attempt';
}

/**
 * A webhook that is not the CI's may be kept, if it was signed with the right secret (another organisation's may be), but
 * about a build of ours nothing of it may count.
 */
function* believed(books: Books, delivery: SentDelivery): Generator<Finding> {
  const { requestId, event, build } = delivery;
  if (!wasAccepted(delivery) || build === null || !books.boundTo.has(build.id)) return;
  const genuine = books.told.get(build.id)?.some((one) => one.requestId === requestId);
  const row = books.evidence.tables.deliveries.find(({ key }) => key.startsWith(`${requestId}/`));
  if (genuine || row?.state !== 'done') return;
  const { pipeline, job } = books.boundTo.get(build.id) ?? { pipeline: '', job: '' };
  yield {
    kind: 'believed',
    text: `${pipeline} ${job}: the forged ${event} about build ${build.id}, sent at ${at(delivery.sentAt)}, was taken for the CI's.`,
  };
}

/** Nothing may be said of what is not to be served, or of what was never pushed. */
function* uninvited({ evidence, pushes, builds }: Books): Generator<Finding> {
  const { tables, frames } = evidence;
  const why = (pipeline: string, job: string): string | undefined => {
    const push = pushes.get(pipeline);
    if (!push) return 'which nobody pushed';
    if (!push.served) return 'which is not to be served';
    return push.jobs.some(({ name }) => name === job) ? undefined : 'and the push has no such job';
  };
  for (const { pipeline, job, status, rkey, created_at: when } of tables.statuses) {
    const reason = why(pipeline, job);
    if (!reason) continue;
    const copies = [...builds.values()].filter((build) => {
      const claim = claimOf(build);
      return claim.pipeline === pipeline && claim.job === job;
    });
    const of = copies.length > 0 ? ` There is ${copies.map(buildName).join(', ')}.` : '';
    yield {
      kind: 'status',
      text: `${jobKey(pipeline, job)}, ${reason}, has the status ${status} (${rkey}, ${at(when)}).${of}`,
    };
  }
  const known = new Set(tables.statuses.map(({ rkey }) => rkey));
  for (const { knot, pipelineRkey, job, status, rkey, reader } of frames) {
    const pipeline = pipelineId({ knot, rkey: pipelineRkey });
    const reason = known.has(rkey) ? undefined : why(pipeline, job);
    if (reason)
      yield { kind: 'status', text: `${jobKey(pipeline, job)}, ${reason}: ${status} (${rkey}) came to ${reader}.` };
  }
}

/** Builds that somebody else made are not ours to stop. */
function* cancelledAnother({ evidence, builds, boundTo }: Books): Generator<Finding> {
  for (const { route, user, build, at: when } of evidence.ci.requests) {
    if (route !== 'cancel' || user !== evidence.ci.user || build === null) continue;
    const made = builds.get(build.id);
    if (!made || isOurs(made, evidence.ci.user) || boundTo.has(build.id)) continue;
    const { pipeline, job } = claimOf(made);
    yield {
      kind: 'cancelled',
      text: `${buildName(made)}, which is not ours (it says ${pipeline} ${job}), was cancelled by us at ${at(when)}.`,
    };
  }
}
