import type { Client } from '@temporalio/client';
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import type { Workflow } from '../evidence.ts';
import { pooled } from './pooled.ts';

const parkedKey = defineSearchAttributeKey('Parked', SearchAttributeType.KEYWORD_LIST);
const atOnce = 8;
/** Runs of one workflow id that are asked for their details, the newest first. */
const mostRuns = 5;

export interface WorkflowSources {
  client: Client;
  /** A visibility query; unset: all. */
  query?: string | undefined;
  /** Ids that must have a workflow; the list of a server lags a little. */
  expected: readonly string[];
  /** Ids whose details say something that people need. */
  explained: ReadonlySet<string>;
}

type Listed = Omit<Workflow, 'details' | 'pending' | 'taskFailure'>;

/** All runs of all workflows; those that run with what they wait for. */
export async function readWorkflows({ client, query, expected, explained }: WorkflowSources): Promise<Workflow[]> {
  const listed = new Map<string, Listed>();
  for await (const info of client.workflow.list(query === undefined ? {} : { query }))
    listed.set(info.runId, summaryOf(info));
  const ids = new Set([...listed.values()].map(({ id }) => id));
  // What has just begun or ended may be listed late or not yet as ended; a question to the workflow itself is exact.
  const doubtful = [...listed.values()].filter(({ status }) => status === 'RUNNING');
  const missing = expected.filter((id) => !ids.has(id)).map((id) => ({ id, runId: undefined }));
  const exact = await pooled(atOnce, [...doubtful, ...missing], (one) => describe(client, one.id, one.runId));
  const found = new Map<string, Workflow>();
  for (const one of listed.values()) found.set(one.runId, { ...one, pending: [], taskFailure: null });
  for (const one of exact) if (one) found.set(one.runId, one);

  const asked = [...Map.groupBy(found.values(), ({ id }) => id)].flatMap(([id, runs]) =>
    explained.has(id) ? runs.toSorted((a, b) => b.startedAt - a.startedAt).slice(0, mostRuns) : [],
  );
  await pooled(atOnce, asked, async (workflow) => {
    const details = await detailsOf(client, workflow);
    if (details !== undefined) workflow.details = details;
  });
  return [...found.values()];
}

type Info = Awaited<ReturnType<ReturnType<Client['workflow']['getHandle']>['describe']>>;

const summaryOf = (info: Omit<Info, 'raw' | 'staticDetails' | 'staticSummary'>): Listed => ({
  id: info.workflowId,
  runId: info.runId,
  startedAt: info.startTime.getTime(),
  status: info.status.name,
  parked: [...(info.typedSearchAttributes.get(parkedKey) ?? [])],
  historyLength: info.historyLength,
});

async function describe(client: Client, id: string, runId: string | undefined): Promise<Workflow | undefined> {
  const handle = client.workflow.getHandle(id, runId);
  const info = await handle.describe().catch((error: unknown) => {
    if (error instanceof Error && error.name === 'WorkflowNotFoundError') return undefined;
    throw error;
  });
  if (!info) return undefined;
  const { pendingActivities, pendingWorkflowTask } = info.raw;
  const fails = (pendingWorkflowTask?.attempt ?? 0) > 1;
  return {
    ...summaryOf(info),
    pending: (pendingActivities ?? []).map(({ activityId, attempt, lastFailure }) => ({
      activity: activityId ?? '',
      attempt: attempt ?? 1,
      failure: lastFailure?.message ?? null,
    })),
    taskFailure: fails ? await lastTaskFailure(client, id, info.runId) : null,
  };
}

/** A worker that was killed leaves a task that timed out, which is no failure of the workflow's code. */
async function lastTaskFailure(client: Client, id: string, runId: string): Promise<string | null> {
  const { events } = await client.workflow.getHandle(id, runId).fetchHistory();
  const last = events?.findLast(
    (event) => event.workflowTaskFailedEventAttributes ?? event.workflowTaskCompletedEventAttributes,
  );
  return last?.workflowTaskFailedEventAttributes?.failure?.message ?? null;
}

/** What the UI shows as current details. A worker must run: it is asked. */
async function detailsOf(client: Client, { id, runId }: Workflow): Promise<string | undefined> {
  try {
    const answer: unknown = await client.withDeadline(Date.now() + 10_000, () =>
      client.workflow.getHandle(id, runId).query('__temporal_workflow_metadata'),
    );
    const details =
      typeof answer === 'object' && answer !== null && 'currentDetails' in answer && answer.currentDetails;
    return typeof details === 'string' ? details : '';
  } catch {
    return undefined;
  }
}
