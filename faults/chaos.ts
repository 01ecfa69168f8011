import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Action, Fault, Scale, World } from './contract.ts';

/** Something that a plan came to. */
export interface ChaosEvent {
  /** Place of the action in the plan, from 0. */
  n: number;
  fault: string;
  /** `failed`: it threw, mostly because what it needed was away at that moment; it counts 0. */
  phase: 'start' | 'end' | 'failed';
  /** In words; at the start there are none. */
  about?: string;
}

/**
 * Does what a plan says, each action at its time, and resolves when all are over: how often each fault really happened.
 * When the run is aborted what goes on is undone, and nothing more begins. Never rejects for a fault that throws.
 */
export async function runPlan(
  world: World,
  plan: readonly Action[],
  catalogue: readonly Fault[],
  scale: Scale,
  onEvent: (event: ChaosEvent) => void = () => {},
): Promise<Record<string, number>> {
  const { signal } = world;
  const byName = new Map(catalogue.map((fault) => [fault.name, fault]));
  const counts: Record<string, number> = Object.fromEntries(plan.map(({ fault }) => [fault, 0]));
  // Every fault under way listens.
  setMaxListeners(0, signal);
  const begun = performance.now();

  const act = async ({ fault: name, dice }: Action, n: number): Promise<void> => {
    onEvent({ n, fault: name, phase: 'start' });
    try {
      const fault = byName.get(name);
      if (!fault) throw new Error(`the catalogue has no fault ${name}`);
      const times = await fault.run(world, dice, scale);
      counts[name] = (counts[name] ?? 0) + times;
      onEvent({ n, fault: name, phase: 'end', about: times === 0 ? 'did not happen' : `happened ${times} times` });
    } catch (error) {
      onEvent({ n, fault: name, phase: 'failed', about: error instanceof Error ? error.message : String(error) });
    }
  };

  await Promise.all(
    plan.map(async (action, n) => {
      const wait = action.at - (performance.now() - begun);
      if (wait > 0) await delay(wait, undefined, { signal }).catch(() => {});
      if (!signal.aborted) await act(action, n);
    }),
  );
  return counts;
}
