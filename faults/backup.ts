import type { Sql } from '../src/store/db.ts';

/** Everything that is in a database, as of one moment: each table as JSON, and where its sequences stand. */
export interface Backup {
  tables: { name: string; rows: string }[];
  sequences: { name: string; value: string | null }[];
}

/** As `pg_dump` does it: while everybody works, and all of one snapshot. */
export async function backUp(sql: Sql): Promise<Backup> {
  return sql.begin('isolation level repeatable read', async (tx) => {
    const names = await tx<{ name: string }[]>`
      select format('%I', tablename) as name from pg_tables where schemaname = 'public' order by 1`;
    const tables: Backup['tables'] = [];
    for (const { name } of names) {
      const [row] = await tx.unsafe<{ rows: string }[]>(
        `select coalesce(jsonb_agg(to_jsonb(whole_row.*)), '[]')::text as rows from ${name} whole_row`,
      );
      tables.push({ name, rows: row?.rows ?? '[]' });
    }
    const sequences = await tx<{ name: string; value: string | null }[]>`
      select format('%I', sequencename) as name, last_value::text as value from pg_sequences where schemaname = 'public'`;
    return { tables, sequences: [...sequences] };
  });
}

/** Puts a backup in the place of what is there. */
export async function putBack(sql: Sql, { tables, sequences }: Backup): Promise<void> {
  await sql.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    await tx.unsafe(`truncate ${tables.map(({ name }) => name).join(', ')} cascade`);
    for (const { name, rows } of tables) {
      await tx.unsafe(
        `insert into ${name} overriding system value select * from jsonb_populate_recordset(null::${name}, $1::text::jsonb)`,
        [rows],
      );
    }
    for (const { name, value } of sequences) {
      await tx`select setval(${name}::text::regclass, ${value ?? '1'}::text::bigint, ${value !== null})`;
    }
  });
}
