/** The known name that `name` was most likely meant to be: one that has all its words, or one that is a few letters away. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const [prefix, rest] = split(name);
  const ranked = known
    .map((each) => ({ each, other: split(each) }))
    .filter(({ other }) => other[0] === prefix)
    .map(({ each, other: [, other] }) => {
      const apart = distance(rest, other);
      const holds = rest.split('_').every((word) => other.split('_').includes(word));
      return { each, apart, holds, near: holds || apart <= Math.max(rest.length, other.length) / 3 };
    })
    .filter(({ near }) => near)
    .sort((a, b) => Number(b.holds) - Number(a.holds) || a.apart - b.apart);
  return ranked[0]?.each;
}

function split(name: string): [prefix: string, rest: string] {
  const at = name.indexOf('_') + 1;
  return [name.slice(0, at), name.slice(at)];
}

/** Levenshtein's: letters to insert, drop or change. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (const [i, letter] of a.split('').entries()) {
    const next = [i + 1];
    for (const [j, other] of b.split('').entries()) {
      const changed = (row[j] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(changed, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
