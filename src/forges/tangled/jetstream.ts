import { fitsInt64, parseInt64 } from './int64.ts';
import { isCollection, isDid, isRecordKey, isRev } from './names.ts';
import { quote } from './quote.ts';

/** What happened to one record, in one commit of its account. */
export type CommitEvent = {
  kind: 'commit';
  rev: string;
  operation: 'create' | 'update' | 'delete';
  collection: string;
  rkey: string;
  /** what it says now; undefined once it is deleted */
  record: unknown;
};

/** The account is there for everybody, or is not. */
export type AccountEvent = {
  kind: 'account';
  active: boolean;
  /** why it is not: `deleted`, `takendown`, `suspended`, `deactivated`, or a word of the future */
  status?: string;
  /** when its server said so, in ms since 1970 */
  saidAt?: number;
};

/** Where the account lives, or what it is called, may have changed. */
export type IdentityEvent = { kind: 'identity' };

/** Something that a newer jetstream sends, of no account that we could name. */
export type OtherEvent = { kind: 'other' };

export type JetstreamEvent = {
  did: string;
  /** when the jetstream stored it, in nanoseconds by its own clock: where its stream has come to */
  time: bigint;
} & (CommitEvent | AccountEvent | IdentityEvent | OtherEvent);

/** What is known of a frame that is none. */
export type BadFrame = { problem: string; time?: bigint; did?: string };

/** A record has at most 1 MiB on the network; those that concern us have some hundred bytes. */
export const maxFrameBytes = 1024 * 1024;

type Fields = Record<string, unknown>;

/**
 * Reads one frame of a jetstream, of the first version or the second, which adds a `cursor` that counts frames: that
 * one has a meaning on its own host only, so it is left alone (jetstream, `docs/README.md`).
 */
export function parseJetstream(bytes: Buffer): JetstreamEvent | BadFrame {
  if (bytes.length > maxFrameBytes) return { problem: `it has ${bytes.length} bytes, more than a record can have` };
  const root = parseObject(bytes.toString('utf8'));
  if (typeof root === 'string') return { problem: root };

  const time = timeOf(root['time_us']);
  if (time === undefined) return { problem: 'its time_us is not a time' };
  const { did, kind } = root;
  // what has no account is a notice of the server's
  if (did === undefined && kind !== 'commit') return { did: '', time, kind: 'other' };
  if (typeof did !== 'string' || !isDid(did)) return { problem: 'its did is not a DID', time };

  const event = kind === 'commit' ? readCommit(root) : kind === 'account' ? readAccount(root) : readOther(kind);
  return 'problem' in event ? { ...event, did, time } : { ...event, did, time };
}

function parseObject(text: string): Fields | string {
  try {
    // the parser of V8 needs no stack for what is deeply nested
    const root: unknown = JSON.parse(text);
    if (isObject(root)) return root;
    return 'not a JSON object';
  } catch (error) {
    return `not JSON: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function readCommit({ commit }: Fields): CommitEvent | BadFrame {
  if (!isObject(commit)) return { problem: 'its commit is not an object' };
  const { rev, operation, collection, rkey, record } = commit;
  if (typeof collection !== 'string' || !isCollection(collection)) return { problem: 'its collection is not an NSID' };
  if (typeof rkey !== 'string' || !isRecordKey(rkey)) {
    return { problem: `its rkey is not a record key (collection ${quote(collection)})` };
  }
  const about = `${quote(collection)}, rkey ${quote(rkey)}`;
  if (typeof rev !== 'string' || !isRev(rev)) return { problem: `its rev is not a TID (collection ${about})` };
  if (operation !== 'create' && operation !== 'update' && operation !== 'delete') {
    return { problem: `its operation is none that a record knows (collection ${about})` };
  }
  return { kind: 'commit', rev, operation, collection, rkey, record: operation === 'delete' ? undefined : record };
}

function readAccount({ account }: Fields): AccountEvent | BadFrame {
  if (!isObject(account)) return { problem: 'its account is not an object' };
  const { active, status, time } = account;
  if (typeof active !== 'boolean') return { problem: 'its account does not say whether it is active' };
  const saidAt = typeof time === 'string' ? Date.parse(time) : Number.NaN;
  return {
    kind: 'account',
    active,
    ...(typeof status === 'string' && /^[a-z]{1,40}$/i.test(status) ? { status: status.toLowerCase() } : {}),
    ...(Number.isNaN(saidAt) ? {} : { saidAt }),
  };
}

const readOther = (kind: unknown): IdentityEvent | OtherEvent | BadFrame => {
  if (kind === 'identity') return { kind };
  return typeof kind === 'string' ? { kind: 'other' } : { problem: 'it does not say of what kind it is' };
};

/** Microseconds, as a number or in digits, as nanoseconds. */
function timeOf(micros: unknown): bigint | undefined {
  // a number beyond 2^53 is not the one that was sent
  const digits = typeof micros === 'number' && Number.isSafeInteger(micros) ? `${micros}` : micros;
  const value = typeof digits === 'string' ? parseInt64(digits) : undefined;
  if (value === undefined || value <= 0n || !fitsInt64(value * 1000n)) return undefined;
  return value * 1000n;
}

const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
