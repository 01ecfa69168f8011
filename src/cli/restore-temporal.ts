import { Client } from '@temporalio/client';
import { connectLazily } from '../temporal/connection.ts';
import { configuredTemporal, serverOf, temporalAdvice, whyAway } from '../temporal/where.ts';
import { statuses } from '../pipeline/status.ts';
import type { Ends } from '../store/restore.ts';
import { CommandError } from './errors.ts';

/** What a restore asks of Temporal. Every method throws a {@link CommandError} in plain words. */
export interface RestoreTemporal {
  /** Where this is, for people. */
  readonly server: string;
  /** How long ago a worker last asked for work, ms; undefined when none did lately. */
  lastPoll(): Promise<number | undefined>;
  /** Pipelines that run now. */
  running(): Promise<string[]>;
  /** Pipelines whose last run was closed since, with what it said of each job. */
  closedSince(since: Date): Promise<Closed[]>;
  terminate(pipeline: string, reason: string): Promise<void>;
  close(): Promise<void>;
}

export interface Closed {
  pipeline: string;
  ends?: Ends;
}

interface Run {
  runId: string;
  status: string;
  startedAt: number;
  /** A run that runs has not closed. */
  closedAt: number | undefined;
}

const callMs = 10_000;
/** Results asked for at once. */
const atOnce = 16;

/** The Temporal of the `TEMPORAL_*` names, as far as one task queue goes. Connects at the first call. */
export function restoreTemporal(env: NodeJS.ProcessEnv, taskQueue: string): RestoreTemporal {
  const at = configuredTemporal(env);
  const { namespace } = at;
  const server = serverOf(at);
  const connection = connectLazily({ ...at.connection, connectTimeout: callMs });
  const client = new Client({ connection, namespace });
  const ours = `WorkflowType = 'pipeline' AND TaskQueue = '${taskQueue.replaceAll("'", "''")}'`;

  const call = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await connection.withDeadline(Date.now() + callMs, work);
    } catch (error) {
      const why = await whyAway(at, error);
      const message = `Temporal (${server}) does not answer (${why}): ${temporalAdvice(why)}`;
      throw new CommandError(message, undefined, { cause: error });
    }
  };

  /** The last run of each workflow, a page per call. */
  const latest = async (query: string): Promise<Map<string, Run>> => {
    const found = new Map<string, Run>();
    const runs = client.workflow.list({ query, pageSize: 500 })[Symbol.asyncIterator]();
    for (let next = await call(() => runs.next()); !next.done; next = await call(() => runs.next())) {
      const { workflowId, runId, status, startTime, closeTime } = next.value;
      const startedAt = startTime.getTime();
      if ((found.get(workflowId)?.startedAt ?? -1) < startedAt)
        found.set(workflowId, { runId, status: status.name, startedAt, closedAt: closeTime?.getTime() });
    }
    return found;
  };

  return {
    server,
    async lastPoll() {
      const { pollers } = await call(() =>
        client.workflowService.describeTaskQueue({ namespace, taskQueue: { name: taskQueue }, taskQueueType: 1 }),
      );
      const seconds = (pollers ?? []).map(({ lastAccessTime }) => Number(lastAccessTime?.seconds ?? 0));
      return seconds.length === 0 ? undefined : Math.max(0, Date.now() - Math.max(...seconds) * 1000);
    },
    running: async () => [...(await latest(`${ours} AND ExecutionStatus = 'Running'`)).keys()],
    async closedSince(since) {
      const runs = [...(await latest(`${ours} AND CloseTime >= '${since.toISOString()}'`))];
      const closed: Closed[] = [];
      for (let from = 0; from < runs.length; from += atOnce) {
        closed.push(
          ...(await Promise.all(
            runs.slice(from, from + atOnce).map(async ([pipeline, { runId, status, closedAt }]): Promise<Closed> => {
              if (status !== 'COMPLETED') return { pipeline };
              const result: unknown = await call(() =>
                client.workflow.getHandle(pipeline, runId, { followRuns: false }).result(),
              );
              return { pipeline, ends: endsOf(result, closedAt ?? Date.now()) };
            }),
          )),
        );
      }
      return closed;
    },
    async terminate(pipeline, reason) {
      await call(() =>
        client.workflow
          .getHandle(pipeline)
          .terminate(reason)
          .catch((error: unknown) => {
            // It ended by itself meanwhile.
            if (!(error instanceof Error && error.name === 'WorkflowNotFoundError')) throw error;
          }),
      );
    },
    close: () => connection.close(),
  };
}

function endsOf(result: unknown, at: number): Ends {
  const ends: Ends = Object.create(null);
  if (typeof result !== 'object' || result === null) return ends;
  for (const [job, status] of Object.entries(result)) {
    const known = statuses.find((one) => one === status);
    if (known) ends[job] = { status: known, at };
  }
  return ends;
}
