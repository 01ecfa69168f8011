/** How often a Temporal server was called, by operation, since it began. */
export async function callsAt(metricsUrl: string): Promise<{ all: number; by: ReadonlyMap<string, number> }> {
  const text = await (await fetch(metricsUrl)).text();
  const by = new Map<string, number>();
  // Of its four services only the frontend is called from outside, and our namespace is not that of its own work.
  const line = /^service_requests\{namespace="default",operation="(\w+)",service_name="frontend"\} (\S+)$/gm;
  for (const [, operation = '', count] of text.matchAll(line)) by.set(operation, Number(count));
  return { all: [...by.values()].reduce((sum, count) => sum + count, 0), by };
}
