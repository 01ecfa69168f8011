import type { Sql } from './db.ts';

/** What can be known of the database from inside of it. Nothing here writes. */

export interface ServerFacts {
  /** For people, such as 18.1. */
  version: string;
  /** 180001 for 18.1. */
  versionNumber: number;
  /** ms since 1970, by its clock. */
  now: number;
  connectionsUsed: number;
  /** For users who are nobody special, of this database or the whole server: whichever is less. */
  connectionsMost: number;
  sizeBytes: number;
  standby: boolean;
  readOnly: boolean;
  /** Null when the server is on another machine, or this user may not know it. */
  dataDirectory: string | null;
}

export async function serverFacts(sql: Sql): Promise<ServerFacts> {
  const [row] = await sql<[ServerFacts]>`
    select current_setting('server_version') as version,
      current_setting('server_version_num')::int as "versionNumber",
      extract(epoch from clock_timestamp())::float8 * 1000 as now,
      (select sum(numbackends) from pg_stat_database)::int as "connectionsUsed",
      (select least(
        current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
        nullif(datconnlimit, -1)
      ) from pg_database where datname = current_database())::int as "connectionsMost",
      pg_database_size(current_database())::float8 as "sizeBytes",
      pg_is_in_recovery() as standby,
      current_setting('transaction_read_only')::boolean as "readOnly",
      case
        when pg_has_role('pg_read_all_settings', 'usage')
          and coalesce(inet_server_addr() <<= any (array['127.0.0.0/8', '::1/128']::inet[]), true)
        then current_setting('data_directory')
      end as "dataDirectory"`;
  return row;
}

/** What this user may not do and has to, a line for each table: `statuses: insert, update`. */
export async function lackingPrivileges(sql: Sql): Promise<string[]> {
  const rows = await sql<{ name: string; lacking: string[] }[]>`
    select relation.relname as name, lacking.rights as lacking
    from pg_class schema_table
    join pg_class relation on relation.relnamespace = schema_table.relnamespace
      and relation.relowner = schema_table.relowner and relation.relkind in ('r', 'v')
      and relation.relname not in ('schema_migrations', 'schema_info')
    cross join lateral (
      select array_agg(privilege order by n) as rights
      from unnest(array['select', 'insert', 'update', 'delete']) with ordinality as wanted (privilege, n)
      where (relation.relkind = 'r' or privilege = 'select') and not has_table_privilege(relation.oid, privilege)
    ) lacking
    where schema_table.oid = to_regclass('schema_info') and lacking.rights is not null
    order by name`;
  return rows.map(({ name, lacking }) => `${name}: ${lacking.join(', ')}`);
}

export interface SourceFacts {
  source: string;
  /** The process that holds it, if that is alive. */
  holder: string | null;
  /** Nanoseconds since 1970: everything up to here is stored. */
  position: bigint | null;
  /** What whoever reads it says of it, if anything. */
  state: string | null;
  error: string | null;
}

/** How many processes of the ingest role are alive. */
export async function ingestProcesses(sql: Sql): Promise<number> {
  const [row] = await sql<[{ count: number }]>`
    select count(*)::int as count from leases where source like 'ingest/%' and expires_at > clock_timestamp()`;
  return row.count;
}

export async function sourceFacts(sql: Sql, wanted: readonly string[]): Promise<SourceFacts[]> {
  return await sql<SourceFacts[]>`
    select source, case when leases.expires_at > clock_timestamp() then leases.owner end as holder,
      cursors.position, sources.state, sources.error
    from unnest(${[...wanted]}::text[]) as wanted (source)
    left join leases using (source) left join cursors using (source) left join sources using (source)
    order by source`;
}

export interface Misses {
  organisation: string | null;
  /** Ends of attempts of the last day that the CI told us or we asked for. */
  ends: number;
  /** Those that we had to ask for: no webhook told of them. */
  missed: number;
}

/** How reliable the webhooks of each organisation were within the last day. */
export async function webhookMisses(sql: Sql, provider: string): Promise<Misses[]> {
  return await sql<Misses[]>`
    select builds.data ->> 'org' as organisation, count(*)::int as ends,
      count(*) filter (where attempts.learnt = 'read')::int as missed
    from attempts join builds on builds.provider = ${provider} and builds.build = attempts.build
    where attempts.ended_at > clock_timestamp() - interval '1 day' and attempts.learnt in ('webhook', 'read')
    group by organisation order by organisation`;
}
