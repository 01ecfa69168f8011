import type { RepoFact } from '../pipeline/access.ts';
import type { PipelineId } from '../pipeline/ids.ts';
import type { Sql } from './db.ts';

/** A pipeline that somebody names by its key, with what says whose it is. */
export interface AskedPipeline {
  id: PipelineId;
  knot: string;
  /** The owner of its repository. */
  did: string;
  /** The repository's name, as its trigger had it. */
  name: string;
  repoDid: string | null;
  /** In their order. */
  jobs: string[];
  /** The owner's records that may be of its repository. */
  records: Pick<RepoFact, 'rkey' | 'name' | 'repoDid'>[];
}

/** The pipelines of this key, the newest first: of one knot, or of all. Ten at most. */
export const pipelinesOfKey = (sql: Sql, { rkey, knot }: { rkey: string; knot?: string | undefined }) =>
  sql<AskedPipeline[]>`
    select id, knot, did, repo as name, repo_did as "repoDid",
      array(select name from jobs where pipeline = pipelines.id order by position) as jobs,
      coalesce((
        select json_agg(json_build_object('rkey', rkey, 'name', value ->> 'name', 'repoDid', value ->> 'repoDid'))
        from records
        where records.did = pipelines.did and collection = 'sh.tangled.repo' and value is not null
          and (value ->> 'name' = pipelines.repo or records.rkey = pipelines.repo or value ->> 'repoDid' = pipelines.repo_did)
      ), '[]') as records
    from pipelines where rkey = ${rkey} and knot = coalesce(${knot ?? null}, knot)
    order by created_at desc limit 10`;
