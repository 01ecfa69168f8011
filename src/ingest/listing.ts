import { AccountInactive, ClientError } from '../clients/error.ts';
import type { Page, Pds } from '../clients/pds.ts';
import { NSID } from '../forges/tangled/nsid.ts';
import { parseRecord } from '../forges/tangled/record.ts';
import { readTime } from '../store/cursors.ts';
import type { DueAccount } from '../store/accounts.ts';
import { isRefusal, type Sql } from '../store/db.ts';
import type { Held } from '../store/leases.ts';
import { applyPage, finishListing, type Page as Rows } from '../store/records.ts';

export interface ListingDeps {
  sql: Sql;
  held: Held;
  pds: Pds;
  /** A record that is none. It is stepped over, so it counts as not being there. */
  onBad(bad: BadRecord): void;
  onPage(records: number): void;
}

export interface BadRecord {
  did: string;
  collection: string;
  /** what the list said of it */
  entry: unknown;
  problem: string;
}

/** Another process has the lease: what this one knows is worth nothing any more. */
export class LeaseLost extends Error {
  override name = 'LeaseLost';
}

/**
 * Reads what an account's server has of its records, and makes ours the same. The rev of its latest commit is read
 * first: what is written meanwhile is newer than all that we store, so the live stream wins. It may stop at any point
 * and begin anew: only the last step says that it is complete.
 * @param origin of the account's PDS
 */
export async function listAccount(
  deps: ListingDeps,
  account: DueAccount,
  origin: string,
  signal: AbortSignal,
): Promise<void> {
  const { sql, held, pds } = deps;
  const { did, version, listedRev } = account;
  const began = new Date(await readTime(sql));
  const rev = await pds.latestRev(origin, did, signal);
  if (listedRev !== null && rev < listedRev) {
    const message = `${new URL(origin).host} shows ${did} as it was at ${rev}, and showed ${listedRev} before`;
    throw new ClientError('garbage', message);
  }
  const collections = rev === listedRev ? [] : collectionsOf(account);
  for (const collection of collections) {
    for await (const page of pds.listRecords(origin, did, collection, signal)) {
      deps.onPage(page.records.length + page.bad.length);
      await apply(deps, { did, rev, records: parse(deps, did, collection, page) });
    }
  }
  signal.throwIfAborted();
  mine(await finishListing(sql, held, { did, version, rev, collections, began }));
}

/** Only the owner's word makes a member. */
const collectionsOf = ({ owner }: DueAccount): string[] =>
  owner ? [NSID.member, NSID.repo, NSID.collaborator] : [NSID.repo, NSID.collaborator];

function parse(deps: ListingDeps, did: string, collection: string, page: Page): Rows['records'] {
  const rows: Rows['records'][number][] = [];
  for (const { problem, entry } of page.bad) deps.onBad({ did, collection, entry, problem });
  for (const entry of page.records) {
    const parsed = parseRecord(collection, entry.rkey, entry.value);
    if ('value' in parsed) rows.push({ collection, rkey: entry.rkey, value: parsed.value });
    else deps.onBad({ did, collection, entry, problem: parsed.problem });
  }
  return rows;
}

/** What the database refuses is one of the records: it is searched for, and the others are stored. */
async function apply(deps: ListingDeps, rows: Rows): Promise<void> {
  const { did, records } = rows;
  try {
    mine(await applyPage(deps.sql, deps.held, rows));
  } catch (error) {
    const [only] = records;
    if (!isRefusal(error) || !only) throw error;
    if (records.length === 1) {
      const problem = error instanceof Error ? error.message : String(error);
      deps.onBad({ did, collection: only.collection, entry: only, problem });
      return;
    }
    const middle = records.length >> 1;
    await apply(deps, { ...rows, records: records.slice(0, middle) });
    await apply(deps, { ...rows, records: records.slice(middle) });
  }
}

function mine(held: boolean): void {
  if (!held) throw new LeaseLost('another process lists the accounts now');
}

/** Whether the account is not to be had, as far as its server or the directory can be believed. */
export function isBelieved(error: unknown, { tries }: DueAccount): error is AccountInactive {
  if (!(error instanceof AccountInactive)) return false;
  // "not found" is also what a server says that is being repaired: it has to say so again, and again
  return error.status !== 'notfound' || tries >= 2;
}
