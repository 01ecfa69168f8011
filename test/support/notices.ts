import { type Listener, listen } from '../../src/store/listen.ts';
import type { Sql } from '../../src/store/db.ts';
import { until } from './until.ts';

export interface Notices {
  /** What was notified since it was asked last, as `channel:payload`, in order. */
  heard(): Promise<string[]>;
  close(): Promise<void>;
}

/** Listens on these channels from now on. */
export async function hearNotices(sql: Sql, channels: readonly string[]): Promise<Notices> {
  let all: string[] = [];
  let listening = false;
  const listener: Listener = listen(sql, [...channels, 'end'], (channel, payload) => {
    if (channel === undefined) listening = true;
    else all.push(`${channel}:${payload}`);
  });
  await until('listening', () => listening);
  return {
    async heard() {
      await sql`select pg_notify('end', '')`;
      await until('the end of the notices', () => all.includes('end:'));
      const notices = all.filter((notice) => notice !== 'end:');
      all = [];
      return notices;
    },
    close: () => listener.close(),
  };
}
