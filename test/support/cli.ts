import { randomUUID } from 'node:crypto';
import { run, type Shell } from '../../src/cli/index.ts';
import { whorlProgram } from '../../src/cli/program.ts';
import { type PipelineId, pipelineId } from '../../src/pipeline/ids.ts';
import { newJob } from '../../src/pipeline/job.ts';
import type { Sql } from '../../src/store/db.ts';
import { insertPipeline } from '../../src/store/pipelines.ts';
import { publishStatuses, type StatusEntry } from '../../src/store/statuses.ts';

/** Runs command lines in this process, against this database unless another environment is given. */
export function commandLine(databaseUrl: () => string, more: Partial<Shell> = {}) {
  return async (line: string | string[], env: NodeJS.ProcessEnv = { WHORL_DATABASE_URL: databaseUrl() }) => {
    const out: string[] = [];
    const err: string[] = [];
    const shell: Shell = {
      env,
      print: (text) => void out.push(text),
      complain: (text) => void err.push(text),
      ...more,
    };
    const args = typeof line === 'string' ? line.split(' ') : line;
    const code = await run(whorlProgram(shell), args, shell);
    return { code, out: out.join('\n'), err: err.join('\n') };
  };
}

export interface Planned {
  jobs?: string[];
  knot?: string;
  did?: string;
  repo?: string;
  branch?: string;
  /** ms before now */
  ago?: number;
}

/** A pipeline as dispatch plans it, under a name of its own. */
export async function plannedPipeline(
  sql: Sql,
  {
    jobs = ['ci.yml'],
    knot = 'knot.example',
    did = 'did:plc:a',
    repo = 'site',
    branch = 'main',
    ago = 0,
  }: Planned = {},
): Promise<PipelineId> {
  const rkey = randomUUID().slice(0, 13);
  const id = pipelineId(knot, rkey);
  await insertPipeline(sql, {
    id,
    knot,
    rkey,
    repo: { did, name: repo },
    kind: 'push',
    commit: 'c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00',
    branch,
    title: `push to ${branch} (c0ffee0)`,
    jobs: jobs.map((name) => ({ name, provider: 'fake', spec: null, refusal: null })),
  });
  if (ago > 0) {
    await sql`update pipelines set created_at = created_at - ${ago} * interval '1 ms' where id = ${id}`;
  }
  return id;
}

/** Publishes what a job has come to. */
export const told = (sql: Sql, id: PipelineId, entry: Partial<StatusEntry>) =>
  publishStatuses(sql, id, [
    {
      job: 'ci.yml',
      attempt: 1,
      epoch: 0,
      status: 'pending',
      state: { job: newJob(), attempts: 1, note: null },
      ...entry,
    },
  ]);
