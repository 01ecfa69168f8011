import { atRate, type Load, type Round } from './load.ts';
import type { WhorlUnderTest } from './whorl.ts';

/** Pipelines at a rate, from the push to the end, and what they took. */
export async function whorlRound(
  { ci, push, ended, frameAt }: WhorlUnderTest,
  load: Load,
  { rate, seconds }: { rate: number; seconds: number },
): Promise<Round> {
  const pushed = new Map<string, number>();
  const [requests, deliveries] = [ci.requests.length, ci.deliveries.length];
  await atRate(rate, seconds, async () => {
    const at = performance.timeOrigin + performance.now();
    const rkey = push(load.jobs);
    pushed.set(rkey, at);
    await ended(rkey);
  });
  const firsts = new Map<string, number>();
  for (const { route, at, body } of ci.requests.slice(requests)) {
    const rkey = route === 'create' ? rkeyOf(body) : undefined;
    if (rkey !== undefined && !firsts.has(rkey)) firsts.set(rkey, at);
  }
  const starts = [...pushed].map(([rkey, at]) => (firsts.get(rkey) ?? Number.NaN) - at);
  const signals = ci.deliveries.slice(deliveries).flatMap(({ event, build, sentAt }) => {
    const status = event === 'build.running' ? 'running' : event === 'build.finished' ? 'success' : undefined;
    const meta = build && ci.build(build.id).metaData;
    const rkey = meta?.['tack:pipeline_rkey'] ?? '';
    if (!status || sentAt === null || !pushed.has(rkey)) return [];
    return [frameAt(rkey, meta?.['tack:workflow'] ?? '', status) - sentAt];
  });
  return { starts, signals };
}

const rkeyOf = (body: unknown): string | undefined =>
  (body as { meta_data?: Record<string, string> } | null)?.meta_data?.['tack:pipeline_rkey'];
