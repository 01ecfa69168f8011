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
 * Does what a plan says, each action at its time, or when the last one of its group is over. Resolves when all are over,
 * with how often each fault really happened. When the run is aborted, what goes on is undone and nothing more begins. A
 * fault that throws ends nothing.
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
  const todo = plan.map((action) => {
    const fault = byName.get(action.fault);
    if (!fault) throw new Error(`the catalogue has no fault ${action.fault}`);
    return { ...action, fault };
  });
  const counts: Record<string, number> = Object.fromEntries(plan.map(({ fault }) => [fault, 0]));
  // Every fault under way listens.
  setMaxListeners(0, signal);
  const begun = performance.now();

  /** When all of a group that have begun are over: what restarts a service may take longer than the plan thought. */
  const groups = new Map<string, Promise<void>>();

  const act = async (fault: Fault, dice: readonly number[], n: number): Promise<void> => {
    const { name } = fault;
    onEvent({ n, fault: name, phase: 'start' });
    try {
      const times = await fault.run(world, dice, scale);
      counts[name] = (counts[name] ?? 0) + times;
      onEvent({ n, fault: name, phase: 'end', about: times === 0 ? 'did not happen' : `happened ${times} times` });
    } catch (error) {
      onEvent({ n, fault: name, phase: 'failed', about: error instanceof Error ? error.message : String(error) });
    }
  };

  await Promise.all(
    todo.map(async ({ at, fault, dice }, n) => {
      const wait = at - (performance.now() - begun);
      if (wait > 0) await delay(wait, undefined, { signal }).catch(() => {});
      const before = fault.alone === undefined ? undefined : groups.get(fault.alone);
      const turn = (async () => {
        await before;
        if (!signal.aborted) await act(fault, dice, n);
      })();
      if (fault.alone !== undefined) groups.set(fault.alone, turn);
      await turn;
    }),
  );
  return counts;
}
