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

/** Whether a person asked Whorl to cancel this job. */
export const cancelAsked = ({ evidence }: Books, pipeline: string, job: string): boolean =>
  evidence.asked.some(
    (one) => one.kind === 'cancel' && one.pipeline === pipeline && (one.job === null || one.job === job),
  );
