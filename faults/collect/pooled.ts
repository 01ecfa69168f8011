/** Does the work for each thing, so many at once; what comes of it in their order. */
export async function pooled<T, R>(atOnce: number, things: readonly T[], work: (thing: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const left = things.entries();
  const hand = async (): Promise<void> => {
    for (const [n, thing] of left) results[n] = await work(thing);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, things.length) }, hand));
  return results;
}
