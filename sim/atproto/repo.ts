/** One change of one record. `record` is absent in a delete, and JSON of any shape otherwise: hostile ones too. */
export interface Commit {
  readonly did: string;
  /** of the commit; several changes that were written together share it */
  readonly rev: string;
  readonly operation: 'create' | 'update' | 'delete';
  readonly collection: string;
  readonly rkey: string;
  readonly record?: unknown;
}

export interface Entry {
  readonly rkey: string;
  readonly record: unknown;
}

export interface PageRequest {
  readonly limit: number;
  /** the last rkey that the caller has; what comes after it in the order asked for is next */
  readonly cursor?: string | undefined;
  /** oldest first; a PDS gives the newest first */
  readonly reverse?: boolean;
}

/** The records of one account, in the order of their rkeys, and every change that made them. */
export interface Repo {
  /** every change since the account was made, oldest first */
  readonly commits: readonly Commit[];
  apply(commit: Commit): void;
  get(collection: string, rkey: string): Entry | undefined;
  /** Up to `limit` records from a place on; a record written meanwhile moves no other one. */
  page(collection: string, request: PageRequest): Entry[];
  collections(): string[];
  count(collection: string): number;
  /** The rev of the last commit that is not later than `rev`; undefined before the first. */
  revAt(rev: string): string | undefined;
  /** The repo as it was right after that rev. */
  asOf(rev: string): Repo;
  /** Every record goes, as when its account is deleted. */
  clear(): void;
}

/** An empty repo. */
export function createRepo(): Repo {
  const shelves = new Map<string, { rkeys: string[]; records: Map<string, unknown> }>();
  const commits: Commit[] = [];
  let earlier: { rev: string; repo: Repo } | undefined;

  const shelf = (collection: string) => {
    let found = shelves.get(collection);
    if (!found) shelves.set(collection, (found = { rkeys: [], records: new Map() }));
    return found;
  };

  return {
    commits,

    apply(commit) {
      commits.push(commit);
      const { rkeys, records } = shelf(commit.collection);
      const { rkey } = commit;
      if (commit.operation === 'delete') {
        if (records.delete(rkey)) rkeys.splice(placeOf(rkeys, rkey), 1);
        return;
      }
      // rkeys are TIDs nearly always, so the place of a new one is the end
      if (!records.has(rkey)) rkeys.splice(placeOf(rkeys, rkey), 0, rkey);
      records.set(rkey, commit.record);
    },

    get(collection, rkey) {
      const records = shelves.get(collection)?.records;
      return records?.has(rkey) ? { rkey, record: records.get(rkey) } : undefined;
    },

    page(collection, { limit, cursor, reverse = false }) {
      const { rkeys = [], records } = shelves.get(collection) ?? {};
      let chosen: string[];
      if (reverse) {
        let from = cursor === undefined ? 0 : placeOf(rkeys, cursor);
        if (rkeys[from] === cursor) from++;
        chosen = rkeys.slice(from, from + limit);
      } else {
        const end = cursor === undefined ? rkeys.length : placeOf(rkeys, cursor);
        chosen = rkeys.slice(Math.max(0, end - limit), end).reverse();
      }
      return chosen.map((rkey) => ({ rkey, record: records?.get(rkey) }));
    },

    collections: () =>
      [...shelves]
        .filter(([, { rkeys }]) => rkeys.length > 0)
        .map(([name]) => name)
        .toSorted(),

    count: (collection) => shelves.get(collection)?.rkeys.length ?? 0,

    revAt: (rev) => commits.findLast((commit) => commit.rev <= rev)?.rev,

    asOf(rev) {
      if (earlier?.rev !== rev) {
        const past = createRepo();
        for (const commit of commits) if (commit.rev <= rev) past.apply(commit);
        earlier = { rev, repo: past };
      }
      return earlier.repo;
    },

    clear() {
      shelves.clear();
      commits.length = 0;
      earlier = undefined;
    },
  };
}

/** Where a key is, or where it would be. */
function placeOf(rkeys: readonly string[], rkey: string): number {
  let [low, high] = [0, rkeys.length];
  if (high > 0 && (rkeys[high - 1] ?? '') < rkey) return high;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((rkeys[middle] ?? '') < rkey) low = middle + 1;
    else high = middle;
  }
  return low;
}
