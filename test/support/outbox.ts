import { type PipelineId, pipelineId } from '../../src/pipeline/ids.ts';
import type { Status } from '../../src/pipeline/status.ts';
import type { Sql } from '../../src/store/db.ts';
import { insertPipeline } from '../../src/store/pipelines.ts';

/** A pipeline as dispatch would have written it, with jobs that have said nothing yet. */
export async function addPipeline(sql: Sql, knot: string, rkey: string, jobs: string[]): Promise<PipelineId> {
  const id = pipelineId(knot, rkey);
  await insertPipeline(sql, {
    id,
    knot,
    rkey,
    repo: { did: 'did:plc:someone', name: 'repo' },
    kind: 'push',
    commit: 'a'.repeat(40),
    branch: 'main',
    title: 'a push',
    jobs: jobs.map((name) => ({ name, provider: 'fake', spec: null, refusal: null })),
  });
  return id;
}

export interface OutboxRow {
  job: string;
  attempt: number;
  epoch: number;
  rank: number;
  status: Status;
  error: string | null;
  rkey: string;
  state: 'due' | 'sent' | 'skipped';
  resend: boolean;
  cursor: bigint | null;
  createdAt: Date;
}

/** All that was ever put into the outbox for a pipeline, in the order in which it was. */
export const outboxOf = (sql: Sql, pipeline: string): Promise<OutboxRow[]> =>
  sql<
    OutboxRow[]
  >`select job, attempt, epoch, rank, status, error, rkey, state, resend, cursor, created_at as "createdAt"
    from statuses where pipeline = ${pipeline} order by id`;
