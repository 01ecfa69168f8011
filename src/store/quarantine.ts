import type { Sql } from './db.ts';

/** Keeps bytes that could not be stored as what they are, once for each source, with the reason. */
export async function quarantine(
  sql: Sql,
  { source, bytes, reason }: { source: string; bytes: Uint8Array; reason: string },
): Promise<void> {
  await sql`
    insert into quarantine (source, bytes, reason)
    values (${source}, ${Buffer.from(bytes)}, ${reason.replaceAll('\0', '\u2400')})
    on conflict (source, md5(bytes)) do nothing`;
}
