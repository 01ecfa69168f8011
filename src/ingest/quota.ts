/** The kind of a source, `dispatch` of `dispatch/3`: sources of a kind cost about the same. */
const kindOf = (source: string): string => source.split('/', 1)[0] ?? source;

/** The sources of each kind, in an order that is the same in every process. */
export function byKind(sources: Iterable<string>): Map<string, string[]> {
  const kinds = new Map<string, string[]>();
  for (const source of sources) kinds.set(kindOf(source), [...(kinds.get(kindOf(source)) ?? []), source]);
  return new Map([...kinds].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * How many sources of each kind a process holds, when all agree on the sources and on who is alive: of each kind, and of
 * all together, no process has two more than another, and the quotas add up to what there is.
 * @param rank of this process among `members`, from 0
 */
export function quotas(kinds: Map<string, string[]>, rank: number, members: number): Map<string, number> {
  let dealt = 0;
  const mine = new Map<string, number>();
  for (const [kind, { length }] of kinds) {
    const rest = length % members;
    const place = (rank - (dealt % members) + members) % members;
    mine.set(kind, Math.floor(length / members) + (place < rest ? 1 : 0));
    dealt += rest;
  }
  return mine;
}
