const mib = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;

/**
 * Says what is wrong when a heap goes on growing: measured after a collection, every so many runs.
 * @param slack MiB that may be held more than at first: caches fill, and code is compiled
 */
export function heapWatch(name: string, slack = 32): { told(held: number): string | undefined; summary(): string } {
  const seen: number[] = [];
  return {
    told(held) {
      seen.push(held);
      // the second measurement is the first after everything was used once
      const [, base] = seen;
      const grown = base === undefined ? 0 : held - base;
      return grown > slack * 2 ** 20 ? `${name} holds ${mib(held)}, and held ${mib(base ?? 0)}: it grows` : undefined;
    },
    summary: () => (seen.length === 0 ? '' : `${name}: ${seen.map(mib).join(', ')}`),
  };
}
