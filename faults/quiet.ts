import { setTimeout as delay } from 'node:timers/promises';
import type { Run } from './world.ts';

/** What is still to be done, by name; all zero: nothing. */
export type Unfinished = Record<string, number>;

/** Counts what has not come to its end. Throws while the database or Temporal does not answer. */
export async function unfinished({ world, database, engine, pushes }: Run): Promise<Unfinished> {
  const [row] = await database.sql<Record<string, number>[]>`
    select
      (select count(*)::int from triggers where state in ('new', 'held')) as triggers,
      (select count(*)::int from triggers) as taken,
      (select count(*)::int from deliveries where state = 'new') as deliveries,
      (select count(*)::int from commands where state = 'new' and kind <> 'watch') as commands,
      (select count(*)::int from statuses where state = 'due') as statuses`;
  const { count } = await engine.client.workflow.count(`ExecutionStatus = 'Running'`);
  const busy = await world.ci.busy();
  const { taken = 0, ...waiting } = row ?? {};
  return {
    'pushes on their way': Math.max(0, pushes.length - taken),
    ...waiting,
    workflows: count,
    builds: busy.builds,
    webhooks: busy.webhooks,
  };
}

/** True when nothing is left, for a while: the last frame must have come to its readers too. */
export async function settle(
  run: Run,
  limitMs: number,
  tell: (left: Unfinished) => void,
  signal: AbortSignal,
): Promise<{ quiet: boolean; left: Unfinished }> {
  const deadline = Date.now() + limitMs;
  let calm = 0;
  let left: Unfinished = {};
  while (Date.now() < deadline && !signal.aborted) {
    try {
      left = await unfinished(run);
      calm = Object.values(left).every((count) => count === 0) ? calm + 1 : 0;
    } catch (error) {
      left = { [`no answer: ${error instanceof Error ? error.message : String(error)}`]: 1 };
      calm = 0;
    }
    if (calm === 3) return { quiet: true, left };
    tell(left);
    await delay(1_000);
  }
  return { quiet: false, left };
}

/** `3 workflows, 1 deliveries`. */
export const describe = (left: Unfinished): string =>
  Object.entries(left)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${count} ${name}`)
    .join(', ') || 'nothing';
