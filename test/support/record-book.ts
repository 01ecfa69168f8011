import { afterAll, beforeAll, beforeEach } from 'vitest';
import { NSID } from '../../src/forges/tangled/nsid.ts';
import { tidAt } from '../../src/forges/tangled/tid.ts';
import type { Sql } from '../../src/store/db.ts';
import { addSources, takeLeases } from '../../src/store/leases.ts';
import { applyChange, applyPage, type Change, finishListing, type Held, type Page } from '../../src/store/records.ts';
import { beSpindle } from '../../src/store/spindle.ts';
import { type FreshDatabase, freshDatabase } from './database.ts';
import { hearNotices, type Notices } from './notices.ts';

export const host = 'spindle.example';
export const knot = 'knot.example';
export const [owner, alice, stranger] = ['did:plc:owner', 'did:plc:alice', 'did:plc:stranger'];
export const { member, repo, collaborator } = NSID;
export const hour = 3_600_000;
/** The past hour, so that nothing lies in the future. */
const base = Date.now() - hour;
export const at = (seconds: number): Date => new Date(base + seconds * 1000);
export const rev = (seconds: number): string => tidAt(base + seconds * 1000);

export const memberOf = (subject: string, instance = host) => ({ subject, instance });
export const repoOn = (spindle: string | null, more: { knot?: string; name?: string; repoDid?: string } = {}) => ({
  knot,
  name: 'site',
  spindle,
  ...more,
});
export const changed = (did: string, collection: string, n: number, value: Change['value'], rkey = 'one'): Change => ({
  did,
  collection,
  rkey,
  rev: rev(n),
  value,
  at: at(n),
});

/** An account's row as a listing takes it; of one that is not there yet, none. */
export async function versionOf(sql: Sql, did: string): Promise<string> {
  const [row] = await sql<{ version: string }[]>`select xmin::text as version from accounts where did = ${did}`;
  return row?.version ?? '';
}

/** A database of the file, empty before each test but for who the spindle is, with the leases of who writes records. */
export function recordBook() {
  let db: FreshDatabase;
  let notices: Notices;
  let stream: Held;
  let lister: Held;

  /** Takes a lease from whoever has it. */
  const lease = async (source: string): Promise<Held> => {
    await addSources(db.sql, [source]);
    await db.sql`update leases set expires_at = '-infinity' where source = ${source}`;
    const [held] = await takeLeases(db.sql, 'me', [source], 1, 60_000);
    if (!held) throw new Error('no lease');
    return held;
  };
  /** What was notified up to now, sorted. */
  const heard = async (): Promise<string[]> => (await notices.heard()).toSorted();

  beforeAll(async () => {
    db = await freshDatabase();
    notices = await hearNotices(db.sql, ['repos', 'inbox', 'accounts']);
  });
  afterAll(async () => {
    await notices.close();
    await db.drop();
  });
  beforeEach(async () => {
    await db.sql`truncate records, accounts, spindle, triggers, cursors, leases, repos`;
    await beSpindle(db.sql, { host, owner });
    await db.sql`update spindle set since = ${at(-hour)}`;
    stream = await lease('jetstream');
    lister = await lease('backfill');
    await heard();
  });

  const apply = (change: Change, position?: bigint) => applyChange(db.sql, stream, change, position);
  const stored = async (did = alice) => {
    const rows = await db.sql<{ rkey: string; rev: string; value: unknown; since: string }[]>`
      select rkey, rev, value, since::text as since from records where did = ${did} order by rkey`;
    return rows.map((row) => ({ ...row }));
  };

  return {
    get sql() {
      return db.sql;
    },
    /** The lease of the live stream. */
    get stream() {
      return stream;
    },
    /** The lease of who lists. */
    get lister() {
      return lister;
    },
    lease,
    heard,
    apply,
    stored,
    invite: (subject = alice, n = 1) => apply(changed(owner, member, n, memberOf(subject), subject)),
    async list(did: string, n: number, records: Page['records'], began = n): Promise<void> {
      const version = await versionOf(db.sql, did);
      await applyPage(db.sql, lister, { did, rev: rev(n), records });
      await finishListing(db.sql, lister, {
        did,
        version,
        rev: rev(n),
        collections: [member, repo, collaborator],
        began: at(began),
      });
    },
    async live() {
      const rows =
        await db.sql`select did, collection, rkey, value from records where value is not null order by 1, 2, 3`;
      return rows.map((row) => ({ ...row }));
    },
    async since(did = alice): Promise<Date | number> {
      const text = (await stored(did))[0]?.since ?? '';
      return text === '-infinity' ? Number.NEGATIVE_INFINITY : new Date(text);
    },
    async served() {
      const rows = await db.sql`select knot, did, name, since from served order by 1, 2, 3`;
      return rows.map((row) => ({ ...row }));
    },
  };
}
