import { Client, Connection, type WorkflowHandle, WorkflowNotFoundError } from '@temporalio/client';
import { configuredTemporal, serverOf, type TemporalAt, whyAway } from '../temporal/where.ts';
import { loadToolConfig, type ToolConfig } from '../config/index.ts';
import type { ActivityFact, Engine, WorkflowFact } from '../pipeline/why-facts.ts';
import type { PipelineView } from '../workflows/messages.ts';
import { withOwnTemporal } from './own-temporal.ts';

/** All that is asked of Temporal together may take so long. */
const withinMs = 3_000;

type Described = Awaited<ReturnType<WorkflowHandle['describe']>>['raw'];
type Stamp = { seconds?: { toString(): string } | null; nanos?: number | null } | null | undefined;

/** What Temporal says of a pipeline's workflow. That it does not answer in time is an answer. */
export async function askTemporal(env: NodeJS.ProcessEnv, config: ToolConfig, id: string): Promise<Engine> {
  const at = await placeOf(env);
  if (!at) return { asked: false, why: 'no TEMPORAL_ADDRESS is set, and no `whorl up` runs one here' };
  const server = serverOf(at);
  const end = Date.now() + withinMs;
  const connection = Connection.lazy({ ...at.connection, connectTimeout: withinMs, interceptors: [] });
  const client = new Client({ connection, namespace: at.namespace });
  try {
    return { asked: true, answers: true, server, workflow: await workflowOf(client, config.taskQueue, id, end) };
  } catch (error) {
    return { asked: true, answers: false, server, why: await whyAway(at, error) };
  } finally {
    await connection.close().catch(() => {});
  }
}

async function placeOf(env: NodeJS.ProcessEnv): Promise<TemporalAt | undefined> {
  const found = await withOwnTemporal(env);
  return loadToolConfig(found).config.temporal.configured ? configuredTemporal(found) : undefined;
}

async function workflowOf(client: Client, queue: string, id: string, end: number): Promise<WorkflowFact | null> {
  const { workflowService, connection } = client;
  const { namespace } = client.options;
  const timed = <T>(call: () => Promise<T>): Promise<T> => connection.withDeadline(end, call);
  const handle = client.workflow.getHandle(id);
  const found = await timed(() => handle.describe()).catch(unlessMissing);
  if (!found) return null;
  const { raw } = found;
  const running = found.status.name === 'RUNNING';
  const [view, seen, failure] = running
    ? await Promise.all([
        timed(() => handle.query<PipelineView>('state')).catch(() => undefined),
        timed(() => workflowService.describeTaskQueue({ namespace, taskQueue: { name: queue }, taskQueueType: 1 })),
        (raw.pendingWorkflowTask?.attempt ?? 0) > 1
          ? timed(() => lastTaskFailure(client, id, found.runId)).catch(() => null)
          : null,
      ])
    : [];
  const polls = (seen?.pollers ?? []).flatMap(({ lastAccessTime }) => dateOf(lastAccessTime) ?? []);
  return {
    status: found.status.name,
    runId: found.runId,
    startedAt: found.startTime,
    closedAt: found.closeTime ?? null,
    task: taskOf(raw, failure ?? null),
    activities: (raw.pendingActivities ?? []).map(activityOf),
    workerSeen: polls.toSorted((a, b) => b.getTime() - a.getTime())[0] ?? null,
    queue,
    waits: view?.waits ?? null,
  };
}

function taskOf({ pendingWorkflowTask: task }: Described, failure: string | null): WorkflowFact['task'] {
  if (!task) return null;
  const started = dateOf(task.startedTime) !== null;
  return { attempt: task.attempt ?? 1, started, since: dateOf(task.scheduledTime), failure };
}

function activityOf(pending: NonNullable<Described['pendingActivities']>[number]): ActivityFact {
  const { activityId, attempt, lastFailure, paused, pauseInfo } = pending;
  const info = lastFailure?.applicationFailureInfo;
  return {
    id: activityId ?? '',
    attempt: attempt ?? 1,
    running: pending.state === 2 || pending.state === 3,
    paused: paused
      ? {
          by: pauseInfo?.manual?.identity ?? (pauseInfo?.rule ? `the rule ${pauseInfo.rule.ruleId ?? ''}` : null),
          reason: (pauseInfo?.manual?.reason ?? pauseInfo?.rule?.reason) || null,
          at: dateOf(pauseInfo?.pauseTime),
        }
      : null,
    failure: lastFailure
      ? { type: info?.type ?? null, message: lastFailure.message ?? '', at: dateOf(pending.lastAttemptCompleteTime) }
      : null,
    scheduledAt: dateOf(pending.scheduledTime),
    nextAt: dateOf(pending.nextAttemptScheduleTime),
  };
}

/** A task that timed out because its worker is gone is no failure of the code. */
async function lastTaskFailure(client: Client, workflowId: string, runId: string): Promise<string | null> {
  const { history } = await client.workflowService.getWorkflowExecutionHistoryReverse({
    namespace: client.options.namespace,
    execution: { workflowId, runId },
    maximumPageSize: 20,
  });
  const last = history?.events?.find(
    (event) => event.workflowTaskFailedEventAttributes ?? event.workflowTaskCompletedEventAttributes,
  );
  return last?.workflowTaskFailedEventAttributes?.failure?.message ?? null;
}

function dateOf(stamp: Stamp): Date | null {
  const ms = Number(stamp?.seconds?.toString() ?? 0) * 1000 + Math.trunc((stamp?.nanos ?? 0) / 1e6);
  return ms > 0 ? new Date(ms) : null;
}

function unlessMissing(error: unknown): undefined {
  if (!(error instanceof WorkflowNotFoundError)) throw error;
}
