import type { AccountEvent, JetstreamEvent } from '../forges/tangled/jetstream.ts';
import { NSID } from '../forges/tangled/nsid.ts';
import { isRecordCollection, parseRecord } from '../forges/tangled/record.ts';
import { allDueSoon, askForListing } from '../store/accounts.ts';
import type { Sql } from '../store/db.ts';
import { applyAccount, applyChange, type Applied, type Change } from '../store/records.ts';
import type { Interesting } from './interesting.ts';
import { dateOf } from './knot-clock.ts';
import type { Lease } from './leases.ts';
import type { Stored } from './stream-writer.ts';

/** What a frame asks for. */
export type Work =
  | { kind: 'change'; change: Change; operation: string }
  | ({ kind: 'account'; did: string; at: Date } & Pick<AccountEvent, 'active' | 'status'>)
  | { kind: 'identity'; did: string }
  /** something may be missing: everybody is to be listed */
  | { kind: 'gap' };

/**
 * What an event asks for; undefined when that is certainly nothing. A record that is there but unusable counts as
 * deleted, since it does not say any more what it said; the problem is told.
 */
export function workOf(
  event: JetstreamEvent,
  owner: string,
  onBad: (problem: string, about: Record<string, unknown>) => void,
): Work | undefined {
  const { did, kind } = event;
  if (kind === 'identity') return { kind, did };
  if (kind === 'account') {
    const at = event.saidAt === undefined ? dateOf(event.time) : new Date(event.saidAt);
    return { kind, did, at, active: event.active, ...(event.status === undefined ? {} : { status: event.status }) };
  }
  if (kind === 'other') return undefined;

  const { collection, rkey, rev, operation, record } = event;
  if (!isRecordCollection(collection)) return undefined;
  // whoever else writes these, nobody believes
  if (collection === NSID.member && did !== owner) return undefined;
  const change = { did, collection, rkey, rev, value: null, at: dateOf(event.time) };
  if (operation === 'delete') return { kind: 'change', change, operation };
  const parsed = parseRecord(collection, rkey, record);
  if ('value' in parsed) return { kind: 'change', change: { ...change, value: parsed.value }, operation };
  onBad(`the record cannot be used: ${parsed.problem}`, { did, collection, operation, rkey });
  return { kind: 'change', change, operation };
}

/** What a log line says of it. */
export function aboutWork(work: Work): Record<string, unknown> {
  if (work.kind === 'gap') return {};
  if (work.kind !== 'change') return { did: work.did, kind: work.kind };
  const { did, collection, rkey, rev } = work.change;
  return { did, collection, operation: work.operation, rkey, rev };
}

/** Does one piece of work. The cursor moves with what concerns an account that matters, and is left behind else. */
export async function applyWork(
  { sql, lease, interesting }: { sql: Sql; lease: Lease; interesting: Interesting },
  work: Work,
  position: bigint,
): Promise<Stored & { changed: boolean }> {
  if (work.kind === 'gap') {
    await allDueSoon(sql);
    return nothing;
  }
  if (work.kind === 'change') {
    const { change } = work;
    const known = interesting.has(change.did);
    const applied = await applyChange(sql, lease, change, known ? position : undefined);
    // the next frame may be of an account that matters since this one
    if (applied.changed) interesting.add(change.did);
    if (change.value && change.collection === NSID.member && 'subject' in change.value) {
      interesting.add(change.value.subject);
    }
    return { ...applied, moved: known || 'not yet' };
  }
  if (!interesting.has(work.did)) return nothing;
  if (work.kind === 'identity') {
    await askForListing(sql, work.did);
    return nothing;
  }
  const { did, active, status, at } = work;
  // one that is active again is due for a listing by the same statement
  const applied: Applied = await applyAccount(sql, lease, { did, active, status, at }, position);
  return { ...applied, moved: true };
}

const nothing = { mine: true, changed: false, moved: 'not yet' } as const;
