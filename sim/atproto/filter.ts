import type { FeedRow } from './feed.ts';

/** What a subscriber asked for. An empty list: everything. */
export interface Filter {
  readonly collections: readonly string[];
  readonly dids: readonly string[];
  /** larger frames are left out; 0: none are */
  readonly maxBytes: number;
  wants(row: FeedRow): boolean;
}

const NSID = /^[a-zA-Z][a-zA-Z0-9-]*(\.[a-zA-Z0-9-]+)+\.[a-zA-Z][a-zA-Z0-9]*$/;

/** The filter of a query, or what is wrong with it (jetstream, `internal/subscribe/filter.go`). */
export function filterOf(collections: readonly string[], dids: readonly string[], maxBytes: number): Filter | string {
  const wantedDids = new Set(dids);
  const exact = new Set(collections.filter((name) => !name.endsWith('.*')));
  const prefixes = [...new Set(collections.filter((name) => name.endsWith('.*')))].map((name) => name.slice(0, -1));
  const badName = [...exact].find((name) => !NSID.test(name));
  if (badName !== undefined) return `invalid subscribe options: invalid collection: ${badName}`;
  if (exact.size + prefixes.length > 100) return 'invalid subscribe options: too many wanted collections: > 100';
  const badDid = dids.find((did) => !/^did:[a-z]+:[a-zA-Z0-9._:%-]+$/.test(did));
  if (badDid !== undefined) return `invalid subscribe options: invalid DID: ${badDid}`;
  if (wantedDids.size > 10_000) return `invalid subscribe options: too many wanted DIDs: ${wantedDids.size} > 10000`;

  return {
    collections,
    dids,
    maxBytes: Number.isSafeInteger(maxBytes) && maxBytes > 0 ? maxBytes : 0,
    wants(row) {
      // what is no event is for everybody
      if ('frame' in row) return true;
      const { event } = row;
      if (wantedDids.size > 0 && !wantedDids.has(event.did)) return false;
      if (event.kind !== 'commit' || collections.length === 0) return true;
      const { collection } = event.commit;
      return exact.has(collection) || prefixes.some((prefix) => collection.startsWith(prefix));
    },
  };
}
