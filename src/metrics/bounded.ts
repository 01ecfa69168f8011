/**
 * Keeps a label small whatever the world sends: the first names stay themselves, all later ones are `other`.
 * @param most names at most
 */
export function boundedNames(most: number): (name: string) => string {
  const known = new Set<string>();
  return (name) => {
    if (known.has(name)) return name;
    if (known.size >= most) return 'other';
    known.add(name);
    return name;
  };
}

/** `2xx`, `4xx` …; 429 is itself, since it means something else than the other 4xx. */
export const statusClass = (status: number): string => (status === 429 ? '429' : `${Math.floor(status / 100)}xx`);

/** Seconds since `performance.now()` said this. */
export const secondsSince = (began: number): number => (performance.now() - began) / 1000;
