import { openDatabase, type Sql } from '../src/store/db.ts';
import { migrate } from '../src/store/migrate.ts';

/** A database of its own on the same server, with the schema of this release. */
export async function freshDatabase(serverUrl: string, name: string): Promise<{ url: string; sql: Sql }> {
  const server = openDatabase(serverUrl, { max: 1 });
  await server`create database ${server(name)}`;
  await server.end();
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  const sql = openDatabase(url.href, { max: 2, applicationName: 'bench' });
  await migrate(sql);
  return { url: url.href, sql };
}

export const knot = 'knot.example';
const statuses = ['pending', 'running', 'success'];

/** Pipelines `p1` … with jobs that have said nothing yet. */
export async function addPipelines(sql: Sql, count: number, jobs: string[]): Promise<void> {
  await sql`
    insert into pipelines (id, knot, rkey, did, repo, kind, commit, branch, title)
    select ${`pipeline/${knot}/p`} || n, ${knot}, 'p' || n, 'did:plc:ewvi7nxzyoun6zhxrhs64oiz', 'bench', 'push',
      repeat('a', 40), 'main', 'a push'
    from generate_series(1, ${count}::int) n`;
  await sql`
    insert into jobs (pipeline, name, position, provider)
    select ${`pipeline/${knot}/p`} || n, job.name, job.position, 'fake'
    from generate_series(1, ${count}::int) n, unnest(${jobs}::text[]) with ordinality job(name, position)`;
}

/** So many published statuses of the last hour: pipelines with three jobs, of which each was pending, running, success. */
export async function fillOutbox(sql: Sql, count: number): Promise<void> {
  const jobs = ['build.yml', 'lint.yml', 'test.yml'];
  await addPipelines(sql, Math.ceil(count / (jobs.length * statuses.length)), jobs);
  // An rkey as long as a TID. Cursors go up, and are no round numbers.
  await sql`
    insert into statuses (pipeline, knot, pipeline_rkey, job, attempt, epoch, rank, status, exit_code, rkey, created_at, cursor, state)
    select ${`pipeline/${knot}/p`} || pipeline, ${knot}, 'p' || pipeline, (${jobs}::text[])[job], 1, 0, word - 1,
      (${statuses}::text[])[word], case when word = 3 then 0 end, '3k' || translate(lpad(n::text, 11, '0'), '01', 'ab'),
      at, (extract(epoch from at) * 1000000000)::bigint + n, 'sent'
    from (
      select n, (n - 1) / 9 + 1 as pipeline, (n - 1) % 3 + 1 as job, (n - 1) / 3 % 3 + 1 as word,
        date_trunc('milliseconds', now() - interval '1 hour' + n * interval '3600 seconds' / (${count}::int + 1)) as at
      from generate_series(1, ${count}::int) n
    ) row`;
  await sql`update clock set last = (select max(cursor) from statuses)`;
  await sql`vacuum analyze statuses`;
}
