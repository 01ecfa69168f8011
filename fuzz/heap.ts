/** So much more may be held than after the first measurement: caches fill, and code is compiled. */
const slack = 32 * 1024 * 1024;

const mib = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;

/** Says what is wrong when a heap goes on growing: measured after a collection, every so many runs. */
export function heapWatch(name: string): { told(held: number): string | undefined; summary(): string } {
  const seen: number[] = [];
  return {
    told(held) {
      seen.push(held);
      // the second measurement is the first after everything was used once
      const [, base] = seen;
      const grown = base === undefined ? 0 : held - base;
      return grown > slack ? `${name} holds ${mib(held)}, and held ${mib(base ?? 0)}: it grows` : undefined;
    },
    summary: () => (seen.length === 0 ? '' : `${name}: ${seen.map(mib).join(', ')}`),
  };
}
