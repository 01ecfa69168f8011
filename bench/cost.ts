import path from 'node:path';
import type { Client } from '@temporalio/client';
import { startTemporal } from '../src/embedded/temporal.ts';
import { startFloor } from './floor.ts';
import type { Load } from './load.ts';
import { atMost, type Line, type Outcome, type Place } from './place.ts';
import { median } from './stats.ts';
import { startWhorl } from './whorl.ts';

/** What a history holds, and what Temporal Cloud would count of it. */
interface Cost {
  events: number;
  actions: number;
}

/** What a design of few words says that a one-job pipeline with its log may take. */
const eventsOfOneJob = 75;

/** History events and billable actions of a pipeline that goes as it should, of one job and of three, one after the other. */
export async function cost(place: Place): Promise<Outcome> {
  const { say, dir, quick } = place;
  const temporal = await startTemporal({ dbFile: path.join(dir, 'temporal-cost.db'), log: say });
  const shape: Omit<Load, 'jobs'> = { paceMs: 1_500, resendMs: 6_000 };
  const whorl = await startWhorl(place, {
    name: 'bench_cost',
    temporal: temporal.address,
    paceMs: shape.paceMs,
    env: { WHORL_RESEND_AFTER: `${shape.resendMs}ms` },
  });
  const floor = await startFloor(temporal.address);
  const figures: Record<string, unknown> = {};
  const lines: Line[] = [];
  for (const jobs of [1, 3]) {
    const [ours, bare]: [Cost[], Cost[]] = [[], []];
    for (let n = 0; n < (quick ? 1 : 3); n += 1) {
      const rkey = whorl.push(jobs);
      const least = floor.run({ ...shape, jobs }, { starts: [], signals: [] });
      await whorl.ended(rkey);
      ours.push(await costOf(whorl.client, whorl.idOf(rkey)));
      bare.push(await costOf(floor.client, (await least).id));
    }
    for (const what of ['events', 'actions'] as const) {
      const [mine, least] = [median(ours.map((one) => one[what])), median(bare.map((one) => one[what]))];
      figures[`${what}_${jobs}_job`] = mine;
      figures[`floor_${what}_${jobs}_job`] = least;
      lines.push({
        name: `${what === 'events' ? 'history events' : 'billable actions'} of a pipeline of ${jobs} job${jobs > 1 ? 's' : ''}`,
        figure: String(mine),
        unit: '',
        floor: { name: 'engine: a workflow of the same shape', figure: String(least) },
        ratio: mine / least,
        goal: what === 'events' && jobs === 1 ? atMost(mine, eventsOfOneJob) : undefined,
      });
    }
  }
  await whorl.stop();
  await floor.stop();
  await temporal.stop();
  return { figures, lines };
}

/** Each of these is one action; a repeated attempt of an activity is one more. */
const billable = [
  'workflowExecutionStartedEventAttributes',
  'workflowExecutionSignaledEventAttributes',
  'workflowExecutionUpdateAcceptedEventAttributes',
  'workflowExecutionContinuedAsNewEventAttributes',
  'activityTaskScheduledEventAttributes',
  'timerStartedEventAttributes',
  'upsertWorkflowSearchAttributesEventAttributes',
] as const;

async function costOf(client: Client, id: string): Promise<Cost> {
  const { events } = await client.workflow.getHandle(id).fetchHistory();
  const all = events ?? [];
  const actions = all.filter((event) => billable.some((name) => event[name])).length;
  const repeats = all.reduce((sum, event) => sum + (event.activityTaskStartedEventAttributes?.attempt ?? 1) - 1, 0);
  return { events: all.length, actions: actions + repeats };
}
