import { createHash } from 'node:crypto';
import type { Build } from '../../sim/buildkite/index.ts';
import type { Evidence, Frame, Push, PushedJob, SentDelivery, Tables, Workflow } from '../evidence.ts';

export type JobRow = Tables['jobs'][number];
export type AttemptRow = Tables['attempts'][number];
export type PostRow = Tables['builds'][number];
export type StatusRow = Tables['statuses'][number];

/** A job of a push that has to be served, with what the books of both sides have about it. */
export interface PushedJobOf extends PushedJob {
  pipeline: string;
  push: Push;
  row: JobRow | undefined;
  /** By number. */
  attempts: AttemptRow[];
  /** Statuses that were sent, in the order of their cursors. */
  sent: StatusRow[];
}

/** The evidence with its indexes. */
export interface Books {
  evidence: Evidence;
  jobs: PushedJobOf[];
  pushes: Map<string, Push>;
  /** The CI's, by id. */
  builds: Map<string, Build>;
  /** Those that our token made by POST for an attempt, by `whorl_run`; the oldest first. */
  ours: Map<string, Build[]>;
  /** Builds that a person made from another one, by that one. */
  rebuilds: Map<string, Build[]>;
  /** Webhooks of the CI itself that Whorl took, by build. */
  told: Map<string, SentDelivery[]>;
  attempts: Map<string, AttemptRow[]>;
  /** The attempt that a build is bound to. */
  boundTo: Map<string, AttemptRow>;
  posts: Map<string, PostRow>;
  statuses: Map<string, StatusRow>;
  /** Of each job, in the order of their cursors. */
  sent: Map<string, StatusRow[]>;
  /** First arrivals at the faithful reader, by job. */
  frames: Map<string, Frame[]>;
  workflows: Map<string, Workflow[]>;
  /** Jobs that newer pushes make superfluous, with those. */
  superseded: Map<string, Push[]>;
}

export const pipelineId = ({ knot, rkey }: { knot: string; rkey: string }): string => `pipeline/${knot}/${rkey}`;
export const jobKey = (pipeline: string, job: string): string => `${pipeline} ${job}`;

/** What Whorl must write into a build's meta_data, so that the build can be found again. */
export const tagOf = (pipeline: string, job: string, attempt: number): string =>
  createHash('sha256').update(`${pipeline}/${job}/${attempt}`).digest('hex').slice(0, 32);

/** Made by our token with a POST; everybody may copy our meta_data. */
export const isOurs = ({ creator, source, rebuiltFrom }: Build, user: string): boolean =>
  creator?.id === user && source === 'api' && rebuiltFrom === null;

/** The job that a build says it is of. */
export const claimOf = ({ metaData }: Build): { pipeline: string; job: string } => ({
  pipeline: `pipeline/${metaData['tack:knot']}/${metaData['tack:pipeline_rkey']}`,
  job: metaData['tack:workflow'] ?? '',
});

export const buildName = ({ id, org, pipeline, number }: Build): string => `${org}/${pipeline}#${number} (${id})`;
export const wasAccepted = ({ status }: { status: number | null }): boolean =>
  status !== null && status >= 200 && status < 300;
export const isEnd = (status: string | null): boolean =>
  status !== null && ['success', 'failed', 'timeout', 'cancelled'].includes(status);

/** ms of a cursor, which counts nanoseconds. */
export const cursorMs = (cursor: string | null): number => (cursor === null ? 0 : Number(BigInt(cursor) / 1_000_000n));

export function booksOf(evidence: Evidence): Books {
  const { tables, ci, pushes, frames } = evidence;
  const ours = ci.builds.filter((build) => isOurs(build, ci.user) && build.metaData['whorl_run'] !== undefined);
  const byNumber = (a: AttemptRow, b: AttemptRow): number => a.attempt - b.attempt;
  const attempts = Map.groupBy(tables.attempts.toSorted(byNumber), ({ pipeline, job }) => jobKey(pipeline, job));
  const shown = tables.statuses.filter(({ state, cursor }) => state === 'sent' && cursor !== null).toSorted(byCursor);
  const sent = Map.groupBy(shown, ({ pipeline, job }) => jobKey(pipeline, job));
  const rows = new Map(tables.jobs.map((row) => [jobKey(row.pipeline, row.name), row]));
  return {
    evidence,
    pushes: new Map(pushes.map((push) => [pipelineId(push), push])),
    builds: new Map(ci.builds.map((build) => [build.id, build])),
    ours: Map.groupBy(
      ours.toSorted((a, b) => a.createdAt - b.createdAt || a.number - b.number),
      ({ metaData }) => metaData['whorl_run'] ?? '',
    ),
    rebuilds: Map.groupBy(
      ci.builds.filter(({ rebuiltFrom }) => rebuiltFrom !== null),
      ({ rebuiltFrom }) => rebuiltFrom?.id ?? '',
    ),
    told: Map.groupBy(
      ci.deliveries.filter((one) => !one.forged && one.build !== null && wasAccepted(one)),
      ({ build }) => build?.id ?? '',
    ),
    attempts,
    boundTo: new Map(tables.attempts.flatMap((row) => (row.build === null ? [] : [[row.build, row]]))),
    posts: new Map(tables.builds.flatMap((row) => (row.build === null ? [] : [[row.build, row]]))),
    statuses: new Map(tables.statuses.map((row) => [row.rkey, row])),
    sent,
    frames: Map.groupBy(firstArrivals(frames.filter(({ reader }) => reader === 'faithful')), (frame) =>
      jobKey(pipelineId({ knot: frame.knot, rkey: frame.pipelineRkey }), frame.job),
    ),
    workflows: Map.groupBy(evidence.workflows, ({ id }) => id),
    superseded: supersededBy(pushes),
    jobs: pushes
      .filter(({ served }) => served)
      .flatMap((push) => {
        const pipeline = pipelineId(push);
        return push.jobs.map((job) => {
          const key = jobKey(pipeline, job.name);
          const of = { row: rows.get(key), attempts: attempts.get(key) ?? [], sent: sent.get(key) ?? [] };
          return { ...job, pipeline, push, ...of };
        });
      }),
  };
}

const byCursor = (a: StatusRow, b: StatusRow): number => {
  const [first, second] = [BigInt(a.cursor ?? 0), BigInt(b.cursor ?? 0)];
  return first < second ? -1 : first > second ? 1 : 0;
};

/** A reader that comes back gets again what it has; it keeps the first of each rkey. */
export function firstArrivals(frames: readonly Frame[]): Frame[] {
  const seen = new Set<string>();
  return frames.filter(({ rkey }) => !seen.has(rkey) && seen.add(rkey));
}

/** Newer is what the knot stamped later; both files must ask for it. */
function supersededBy(pushes: readonly Push[]): Map<string, Push[]> {
  const asking = pushes
    .filter(({ served }) => served)
    .flatMap((push) => push.jobs.filter(({ supersede }) => supersede).map(({ name }) => ({ push, name })));
  const places = Map.groupBy(asking, ({ push: { knot, did, repo, branch }, name }) =>
    JSON.stringify([knot, did, repo, branch, name]),
  );
  const found = new Map<string, Push[]>();
  for (const those of places.values()) {
    for (const { push, name } of those) {
      const newer = those.filter((other) => other.push.rkey > push.rkey).map((other) => other.push);
      if (newer.length > 0) found.set(jobKey(pipelineId(push), name), newer);
    }
  }
  return found;
}

/** What happened while the database was lost, or a little before: nothing of Whorl's needs to know of it. */
export const wasLost = ({ evidence }: Books, ms: number): boolean =>
  evidence.disturbances.some(({ fault, from, to }) => fault === 'restore' && ms >= from - lostMs && ms <= to);

/** What is written as a backup is taken may miss it, ms; a status may be of a moment to come. */
const lostMs = 3_000;

/** Whether a person asked Whorl to cancel this job, or a newer push did. */
export const cancelAsked = ({ evidence, superseded }: Books, pipeline: string, job: string): boolean =>
  superseded.has(jobKey(pipeline, job)) ||
  evidence.asked.some(
    (one) => one.kind === 'cancel' && one.pipeline === pipeline && (one.job === null || one.job === job),
  );
