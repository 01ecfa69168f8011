import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { unpackEntries } from '../../src/store/log-chunks.ts';
import type { Sql } from '../../src/store/db.ts';
import type { Scanner } from './scanner.ts';

type Row = Record<string, unknown>;

/** Rows that are read at once. A chunk of a log may have 256 KiB. */
const batch = 100;

/** Goes through every row of every table. One connection without a limit of time, since there may be much. */
async function everyRow(sql: Sql, take: (table: string, rows: AsyncIterable<Row[]>) => Promise<void>): Promise<void> {
  const own = await sql.reserve();
  try {
    await own`set statement_timeout = 0`;
    const tables = await own<{ name: string }[]>`
      select table_name as name from information_schema.tables
      where table_schema = current_schema() and table_type = 'BASE TABLE' order by 1`;
    for (const { name } of tables) await take(name, own<Row[]>`select * from ${own(name)}`.cursor(batch));
    await own`reset statement_timeout`;
  } finally {
    own.release();
  }
}

/** Looks for secrets in the whole database: texts, JSON, bytes, and what is compressed. */
export const scanTables = (sql: Sql, { scan }: Scanner): Promise<void> =>
  everyRow(sql, async (table, rows) => {
    const place = `table ${table}`;
    scan(place, '');
    for await (const some of rows) {
      for (const row of some) {
        const { data } = row;
        scan(place, row);
        if (table === 'log_chunks' && data instanceof Uint8Array) scan(place, (await unpackEntries(data)).join('\n'));
      }
    }
  });

/** Writes every table into a file of its own, a row on each line; bytes as hex. */
export async function dumpTables(sql: Sql, dir: string): Promise<void> {
  await mkdir(dir, { recursive: true });
  await everyRow(sql, async (table, rows) => {
    const lines = async function* () {
      for await (const some of rows) for (const row of some) yield `${JSON.stringify(row, plain)}\n`;
    };
    await pipeline(Readable.from(lines()), createWriteStream(path.join(dir, `${table}.jsonl`)));
  });
}

function plain(this: unknown, key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  // A Buffer has become a list of numbers by now; what it was stands in its row.
  const raw = typeof this === 'object' && this !== null ? (this as Row)[key] : undefined;
  return raw instanceof Uint8Array ? `\\x${Buffer.from(raw).toString('hex')}` : value;
}
