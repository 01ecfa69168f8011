import type { ToolConfig } from '../config/index.ts';
import { logQueue } from '../pipeline/ids.ts';
import { type Check, checkWith, fail, lasting, need, ok, Skip, skipped, warn, type Need } from './check.ts';
import { calling, type TemporalLink } from './temporal.ts';

/** temporal.api.enums.v1.TaskQueueType */
const kinds = { workflow: 1, activity: 2 } as const;

/** A poll lasts a minute; the server lists those who have polled within five. */
const aliveMs = 120_000;
/** A task that waits longer than this waits for workers that are too few or too slow. */
const lateMs = 60_000;
const clockMs = 5_000;

interface Poller {
  identity: string;
  build: string;
  /** ms since 1970, by the clock of Temporal. */
  polledAt: number;
}

interface Queue {
  name: string;
  pollers: Poller[];
  backlog: number;
  oldestMs: number;
}

/** Who takes our tasks from Temporal, and whether they keep up. */
export function workerChecks(temporal: Need<TemporalLink>, { taskQueue }: ToolConfig, timeoutMs: number): Check[] {
  const queues = need(async () => {
    const link = await temporal();
    const asked = [
      { name: taskQueue, kind: kinds.workflow },
      { name: taskQueue, kind: kinds.activity },
      { name: logQueue(taskQueue), kind: kinds.activity },
    ];
    return Promise.all(
      asked.map(({ name, kind }) => calling(link.connection, timeoutMs * 0.9, () => look(link, name, kind))),
    );
  });
  const polled = need(async () => {
    const all = (await queues()).flatMap(({ pollers }) => pollers);
    if (all.length === 0) throw new Skip('no worker polls');
    return all;
  });
  return [
    checkWith(temporal, 'workers', 'see that Temporal is well', async () => workers(await queues())),
    checkWith(polled, 'worker builds', '', async () => builds(await queues())),
    checkWith(polled, 'backlog', '', async () => backlog(await queues())),
    checkWith(polled, 'clock', '', async (pollers) => clock(pollers)),
  ];
}

async function look({ connection, namespace }: TemporalLink, name: string, kind: 1 | 2): Promise<Queue> {
  const { pollers, stats } = await connection.workflowService.describeTaskQueue({
    namespace,
    taskQueue: { name },
    taskQueueType: kind,
    reportStats: true,
  });
  const now = Date.now();
  return {
    name,
    pollers: pollers
      .map(({ identity, lastAccessTime, deploymentOptions, workerVersionCapabilities }) => ({
        identity: identity ?? '',
        build: deploymentOptions?.buildId || workerVersionCapabilities?.buildId || '',
        polledAt: Number(lastAccessTime?.seconds ?? 0) * 1_000 + (lastAccessTime?.nanos ?? 0) / 1e6,
      }))
      .filter(({ polledAt }) => now - polledAt < aliveMs),
    backlog: Number(stats?.approximateBacklogCount ?? 0),
    oldestMs: Number(stats?.approximateBacklogAge?.seconds ?? 0) * 1_000,
  };
}

function workers(queues: readonly Queue[]) {
  const silent = [...new Set(queues.filter(({ pollers }) => pollers.length === 0).map(({ name }) => name))];
  const names = distinct(queues.flatMap(({ pollers }) => pollers.map(({ identity }) => identity)));
  if (silent.length > 0) {
    const advice = 'start `whorl worker` (or `whorl up`), with the same TEMPORAL_NAMESPACE and WHORL_TASK_QUEUE';
    return fail(`no worker polls the task queue ${silent.join(' and ')}: no pipeline goes on`, advice);
  }
  return ok(`${names.length} worker${names.length === 1 ? '' : 's'}: ${some(names)}`);
}

/** Builds may differ from queue to queue: the SDK names the one of workflows by their code, too. */
function builds(queues: readonly Queue[]) {
  const found = queues.map(({ pollers }) => distinct(pollers.map(({ build }) => shortened(build))));
  const mixed = found.find((each) => each.length > 1);
  if (!mixed) return ok(`all are of one build: ${distinct(found.flat()).join(', ')}`);
  const advice = 'if no upgrade is under way, restart the workers of the older build';
  return warn(`workers of ${mixed.length} builds take the same tasks: ${some(mixed)}`, advice);
}

/** A hash of which nobody wants to read all. */
const shortened = (build: string): string => build.replace(/([0-9a-f]{8})[0-9a-f]{24,}/, '$1') || 'without a name';

function backlog(queues: readonly Queue[]) {
  const waiting = queues.reduce((sum, { backlog: each }) => sum + each, 0);
  const oldest = Math.max(...queues.map(({ oldestMs }) => oldestMs));
  if (waiting === 0) return ok('no task waits for a worker');
  const found = `${waiting} task(s) wait for a worker, the oldest for ${lasting(oldest)}`;
  return oldest < lateMs ? ok(found) : warn(found, 'run more workers, or see what holds them up: their log, their CPU');
}

/** Temporal tells no time; but its list of polls does, of which none can be later than now. */
function clock(pollers: readonly Poller[]) {
  const latest = Math.max(...pollers.map(({ polledAt }) => polledAt)) - Date.now();
  if (latest > clockMs) {
    return warn(`its clock is ${lasting(latest)} ahead of ours`, 'see that both machines keep their time by NTP');
  }
  return latest > -aliveMs / 2 ? ok('as ours, as far as the polls tell') : skipped('the last poll was long ago');
}

const distinct = (texts: readonly string[]): string[] => [...new Set(texts)].sort();

const some = (names: readonly string[]): string =>
  names.length > 4 ? `${names.slice(0, 4).join(', ')} and ${names.length - 4} more` : names.join(', ');
