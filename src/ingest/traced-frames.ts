import { pipelineId } from '../pipeline/ids.ts';
import type { IncomingTrigger } from '../store/intake.ts';
import { isTracing, recordSpan, traceNow } from '../tracing/index.ts';

const arrivals = new WeakMap<IncomingTrigger, number>();

/** Remembers when a trigger came, if anybody wants to know. */
export function arrived(trigger: IncomingTrigger): IncomingTrigger {
  if (isTracing()) arrivals.set(trigger, traceNow());
  return trigger;
}

/**
 * Tells of triggers that were stored, from their arrival to the commit. When only some of them were new, it is not known
 * which, and all are told of: those from before have the same span once more.
 */
export function tellStored(knot: string, triggers: readonly IncomingTrigger[], inserted: number): void {
  if (!isTracing() || inserted === 0) return;
  const end = traceNow();
  for (const trigger of triggers) {
    if (trigger.state === 'early') continue;
    recordSpan({
      pipeline: pipelineId(knot, trigger.rkey),
      epoch: 0,
      is: 'once',
      name: 'frame received',
      kind: 'consumer',
      start: arrivals.get(trigger) ?? end,
      end,
      said: { 'whorl.knot': knot, 'whorl.rkey': trigger.rkey },
    });
  }
}
