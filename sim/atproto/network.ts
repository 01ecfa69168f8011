import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { now as systemTid } from '@atcute/tid';
import { NSID } from '../../src/forges/tangled/nsid.ts';
import { tidAt, tidMaker, tidTime } from '../../src/forges/tangled/tid.ts';
import { base32, cidOf } from './cid.ts';
import { type Commit, createRepo, type Repo } from './repo.ts';

export type AccountStatus = 'active' | 'deactivated' | 'suspended' | 'takendown' | 'deleted';

export interface Account {
  readonly did: string;
  readonly handle: string;
  /** name of the PDS where it lives; see `startPds` */
  readonly pds: string;
  readonly status: AccountStatus;
  /** of its latest commit */
  readonly rev: string;
  /** the directory answers 410 for it */
  readonly tombstoned: boolean;
  /** PDSs where it lived before; they answer as for a deactivated account */
  readonly former: readonly string[];
}

/** What happened in the network, in the order in which it happened. */
export type NetworkEvent = { readonly seq: number; readonly did: string; /** µs since 1970 */ readonly at: number } & (
  | { readonly kind: 'commit'; readonly commit: Commit }
  | { readonly kind: 'account'; readonly status: AccountStatus }
  | { readonly kind: 'identity'; readonly handle: string }
);

export interface NetworkOptions {
  /** ms since 1970; default the system's clock. `manualClock()` gives one that a test moves. Revs and rkeys come from it */
  now?: () => number;
}

/** One of several changes that are written together. */
export type Write =
  | { operation: 'create' | 'update'; collection: string; rkey: string; record: unknown }
  | { operation: 'delete'; collection: string; rkey: string };

/** Where a record is. `rev` and `cid` are those of the write that gave this. */
export interface Written {
  readonly uri: string;
  readonly rkey: string;
  readonly rev: string;
}

export interface WriteOptions {
  /** of the commit, for a captured one; must be later than the account's latest. Default a fresh TID */
  rev?: string;
}

export type Network = ReturnType<typeof createNetwork>;

/**
 * The truth that a PDS, a directory and a jetstream show: accounts with their repos. Everything is in memory, and made at
 * once; give the network to `startPds`, `startPlc` and `startJetstream`, before or after it has something in it.
 */
export function createNetwork(options: NetworkOptions = {}) {
  const { now } = options;
  const micros = (): number => (now ? Math.floor(now() * 1000) : Number((tidTime(systemTid()) ?? 0n) / 1000n));
  const nextTid = tidMaker(() => tidAt(BigInt(micros()) * 1000n));
  const accounts = new Map<string, Mutable<Account> & { repo: Repo; endpoint?: string }>();
  const handles = new Map<string, string>();
  const events: NetworkEvent[] = [];
  const listeners = new Set<(event: NetworkEvent) => void>();
  const hosts = new Map<string, string>();
  const keys = new Map<string, string>();

  const held = (did: string) => {
    const found = accounts.get(did);
    if (!found) throw new Error(`the network has no account ${did}; make it with network.account({ did })`);
    return found;
  };
  const tell = (event: NetworkEvent): void => {
    events.push(event);
    for (const listen of listeners) listen(event);
  };
  const place = (did: string) => ({ seq: events.length + 1, did, at: micros() });
  const setStatus = (did: string, status: AccountStatus): void => {
    held(did).status = status;
    tell({ ...place(did), kind: 'account', status });
  };

  /**
   * A new account, with an account and an identity event; or the one that has this DID already.
   * Default: a made-up did:plc, a handle under `.test`, on the PDS named `pds`.
   */
  const account = (about: { did?: string; handle?: string; pds?: string } = {}): Account => {
    const n = accounts.size + 1;
    const did = about.did ?? `did:plc:${base32(createHash('sha256').update(`account ${n}`).digest()).slice(0, 24)}`;
    const known = accounts.get(did);
    if (known) return known;
    const handle = about.handle ?? `user${n}.test`;
    const rev = nextTid();
    const { pds = 'pds' } = about;
    const fresh = { did, handle, pds, status: 'active' as const, rev, tombstoned: false, former: [] };
    accounts.set(did, { ...fresh, repo: createRepo() });
    handles.set(handle, did);
    tell({ ...place(did), kind: 'identity', handle });
    tell({ ...place(did), kind: 'account', status: 'active' });
    return held(did);
  };

  /** Changes that are one commit: they share a rev, and each is an event of its own. */
  const write = (did: string, writes: readonly Write[], { rev: given }: WriteOptions = {}): string => {
    const author = held(did);
    if (author.status !== 'active') throw new Error(`${did} is ${author.status}, and cannot write`);
    const rev = given ?? laterOf(nextTid(), author.rev);
    if (rev <= author.rev) throw new Error(`rev ${rev} of ${did} is not later than its latest, ${author.rev}`);
    for (const { operation, collection, rkey } of writes) {
      const there = author.repo.get(collection, rkey) !== undefined;
      if (there === (operation === 'create')) {
        throw new Error(
          `cannot ${operation} at://${did}/${collection}/${rkey}: it is ${there ? 'there' : 'not there'}`,
        );
      }
    }
    author.rev = rev;
    for (const one of writes) {
      const commit: Commit = { did, rev, ...one };
      author.repo.apply(commit);
      tell({ ...place(did), kind: 'commit', commit });
    }
    return rev;
  };
  const written = (did: string, collection: string, rkey: string, rev: string): Written => {
    return { uri: `at://${did}/${collection}/${rkey}`, rkey, rev };
  };
  const create = (
    did: string,
    collection: string,
    record: unknown,
    rkey = nextTid(),
    more: WriteOptions = {},
  ): Written => written(did, collection, rkey, write(did, [{ operation: 'create', collection, rkey, record }], more));
  const createdAt = (): string => new Date(Math.floor(micros() / 1000)).toISOString();

  return {
    /** every event since the start, oldest first */
    events: events as readonly NetworkEvent[],
    /** URLs of PDSs by their names; `startPds` puts its own here */
    hosts,
    /** the network's clock, in µs since 1970 */
    micros,
    nextTid,

    account,
    /** An account as it is now; undefined if there is none. It changes with the network. */
    find: (did: string): Account | undefined => accounts.get(did),
    /** The DID of a handle. */
    didOf: (handle: string): string | undefined => handles.get(handle.toLowerCase()),
    accounts: (): readonly Account[] => [...accounts.values()],
    /** Its records, to read; write with the functions below. */
    repoOf: (did: string): Repo => held(did).repo,

    write,
    create,
    /** Replaces a record that is there, also by an equal one. */
    update: (did: string, collection: string, rkey: string, record: unknown, more: WriteOptions = {}): Written =>
      written(did, collection, rkey, write(did, [{ operation: 'update', collection, rkey, record }], more)),
    /** Creates or replaces a record. Like a real PDS, an equal one is no commit: `rev` is then the latest. */
    put(did: string, collection: string, rkey: string, record: unknown, more: WriteOptions = {}): Written {
      const { repo, rev } = held(did);
      const there = repo.get(collection, rkey);
      if (there && isDeepStrictEqual(there.record, record)) return written(did, collection, rkey, rev);
      const operation = there ? 'update' : 'create';
      return written(did, collection, rkey, write(did, [{ operation, collection, rkey, record }], more));
    },
    /** Deletes a record that is there, and gives the rev. */
    delete: (did: string, collection: string, rkey: string, more: WriteOptions = {}): string =>
      write(did, [{ operation: 'delete', collection, rkey }], more),
    /** Creates many records with fresh rkeys, a commit each. */
    fill(did: string, collection: string, count: number, record: (n: number) => unknown): void {
      for (let n = 0; n < count; n++) create(did, collection, record(n));
    },

    /** The owner makes somebody a member of a spindle. */
    invite: (owner: string, subject: string, host: string): Written =>
      create(owner, NSID.member, { $type: NSID.member, subject, instance: host, createdAt: createdAt() }),
    /** A repository record; `spindle` absent: it chose none. Other fields (`repoDid`, `source`) go in as they are. */
    repo(
      did: string,
      about: { knot: string; name: string; spindle?: string; [field: string]: unknown },
      rkey?: string,
    ): Written {
      return create(did, NSID.repo, { $type: NSID.repo, ...about, createdAt: createdAt() }, rkey);
    },
    /** `repo`: AT-URI of the repository's record, or a repository's DID. */
    collaborator: (did: string, repo: string, subject: string): Written =>
      create(did, NSID.collaborator, { $type: NSID.collaborator, subject, repo, createdAt: createdAt() }),

    deactivate: (did: string): void => setStatus(did, 'deactivated'),
    suspend: (did: string): void => setStatus(did, 'suspended'),
    takeDown: (did: string): void => setStatus(did, 'takendown'),
    reactivate: (did: string): void => setStatus(did, 'active'),
    /** Its records are gone for good; no delete of a record is told, only that of the account. */
    deleteAccount(did: string): void {
      held(did).repo.clear();
      setStatus(did, 'deleted');
    },
    /** The directory forgets the DID for good: 410. */
    tombstone(did: string): void {
      held(did).tombstoned = true;
    },
    changeHandle(did: string, handle: string): void {
      const account = held(did);
      handles.delete(account.handle);
      account.handle = handle;
      handles.set(handle, did);
      tell({ ...place(did), kind: 'identity', handle });
    },
    /** Moves an account with its records to another PDS, by name; the old one counts it as deactivated from now on. */
    migrate(did: string, pds: string): void {
      const account = held(did);
      account.former = [...account.former.filter((name) => name !== pds), account.pds];
      account.pds = pds;
      delete account.endpoint;
      tell({ ...place(did), kind: 'identity', handle: account.handle });
      tell({ ...place(did), kind: 'account', status: account.status });
    },
    /** Makes the directory give this as the account's PDS, whatever it is; undefined: the true one again. */
    pointTo(did: string, endpoint: string | undefined): void {
      const account = held(did);
      if (endpoint === undefined) delete account.endpoint;
      else account.endpoint = endpoint;
      tell({ ...place(did), kind: 'identity', handle: account.handle });
    },
    /** What the directory says the account's PDS is. */
    endpoint(did: string): string {
      const { endpoint, pds } = held(did);
      return endpoint ?? hosts.get(pds) ?? `https://${pds}.invalid`;
    },

    /** Makes the directory show this key (`z…`) as the account's; it had one that nobody can sign with. */
    signWith: (did: string, publicKeyMultibase: string): void => void keys.set(held(did).did, publicKeyMultibase),
    signingKey: (did: string): string | undefined => keys.get(did),

    /** Writes what captured jetstream frames say, with their revs; accounts are made as needed. Gives how many. */
    replay(lines: readonly string[]): number {
      const frames = lines.filter((line) => line.trim() !== '').map((line): CommitFrame => JSON.parse(line));
      for (const { did, commit } of frames) {
        if (!commit) continue;
        account({ did });
        const author = held(did);
        // captured accounts are older than we are
        if (author.repo.commits.length === 0 && author.rev >= commit.rev) author.rev = '';
        const { rev, operation, collection, rkey, record } = commit;
        write(
          did,
          [operation === 'delete' ? { operation, collection, rkey } : { operation, collection, rkey, record }],
          { rev },
        );
      }
      return frames.length;
    },

    /** Hears every event from now on; gives a function that ends it. */
    listen(listener: (event: NetworkEvent) => void): () => void {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

/** The CID of an account's latest commit. Nothing is signed here, so it only differs from rev to rev. */
export const commitCid = (did: string, rev: string): string => cidOf({ did, rev, version: 3 });

type CommitFrame = { did: string; commit?: { rev: string } & Write & { record?: unknown } };
type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** A captured account may be ahead of our clock. */
function laterOf(tid: string, last: string): string {
  return tid > last ? tid : tidAt((tidTime(last) ?? 0n) + 1000n);
}
