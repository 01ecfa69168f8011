import { Client, isGrpcServiceError, WorkflowNotFoundError, type WorkflowHandle } from '@temporalio/client';
import { connectLazily } from '../temporal/connection.ts';
import { configuredTemporal, serverOf, temporalAdvice, tlsProblemOf } from '../temporal/where.ts';
import { CommandError, exitCodes, messageOf } from './errors.ts';

export type History = Awaited<ReturnType<WorkflowHandle['fetchHistory']>>;

/** One run of a workflow. */
export interface Run {
  readonly workflowId: string;
  readonly runId: string;
}

/** The histories of a Temporal, one at a time. Every method throws a {@link CommandError} in plain words. */
export interface Source {
  /** Where this is, for people. */
  readonly server: string;
  /** How many fit the query, roughly: what Temporal counts lags a little. */
  count(): Promise<number>;
  /** Those that fit the query, the latest first. */
  runs(): AsyncGenerator<Run>;
  /** Undefined when it is no longer kept. */
  history(run: Run): Promise<History | undefined>;
  close(): Promise<void>;
}

/** gRPC's codes, as far as they say something to people. */
const grpc = { invalid: 3, late: 4, notFound: 5, denied: 7, unauthenticated: 16 } as const;
const connectMs = 5_000;
const callMs = 10_000;
/** A history may have many pages. */
const historyMs = 60_000;
const pageSize = 200;

/** The Temporal of the `TEMPORAL_*` names. Connects at the first call. */
export function openSource(env: NodeJS.ProcessEnv, query: string): Source {
  const at = configuredTemporal(env);
  const { namespace } = at;
  const server = serverOf(at);
  const connection = connectLazily({ ...at.connection, connectTimeout: connectMs });
  const client = new Client({ connection, namespace });
  const { workflowService } = client;

  const call = async <T>(work: () => Promise<T>, ms = callMs): Promise<T> => {
    try {
      await connection.ensureConnected();
      return await connection.withDeadline(Date.now() + ms, work);
    } catch (error) {
      throw explained(error, { server, query, tls: await tlsProblemOf(at) });
    }
  };

  return {
    server,
    count: async () => {
      const { count } = await call(() => workflowService.countWorkflowExecutions({ namespace, query }));
      return Number(String(count));
    },
    async *runs() {
      let nextPageToken: Uint8Array | null | undefined;
      do {
        const request = { namespace, query, pageSize, ...(nextPageToken ? { nextPageToken } : {}) };
        const page = await call(() => workflowService.listWorkflowExecutions(request));
        for (const { execution } of page.executions) {
          const { workflowId, runId } = execution ?? {};
          if (workflowId && runId) yield { workflowId, runId };
        }
        ({ nextPageToken } = page);
      } while (nextPageToken && nextPageToken.length > 0);
    },
    history: ({ workflowId, runId }) =>
      call(() => client.workflow.getHandle(workflowId, runId).fetchHistory().catch(unlessGone), historyMs),
    close: () => connection.close(),
  };
}

function unlessGone(error: unknown): undefined {
  if (!(error instanceof WorkflowNotFoundError)) throw error;
}

interface Asked {
  server: string;
  query: string;
  /** What is wrong with it, which gRPC's client does not say. */
  tls: string | undefined;
}

function explained(error: unknown, { server, query, tls }: Asked): CommandError {
  // The SDK wraps what gRPC said.
  const cause = error instanceof Error && isGrpcServiceError(error.cause) ? error.cause : error;
  const code = isGrpcServiceError(cause) ? cause.code : undefined;
  const said = isGrpcServiceError(cause) ? cause.details : messageOf(error);
  const why = tls ?? (code === grpc.late ? 'no answer in time' : said);
  const message =
    code === grpc.invalid
      ? `Temporal (${server}) does not understand the query ${JSON.stringify(query)}: ${why}`
      : code === grpc.notFound
        ? `the namespace does not exist in Temporal (${server}): check TEMPORAL_NAMESPACE`
        : code === grpc.denied || code === grpc.unauthenticated
          ? `Temporal (${server}) does not let us in (${why}): check the TEMPORAL_* credentials`
          : `Temporal (${server}) does not answer (${why}): ${temporalAdvice(why)}`;
  return new CommandError(message, exitCodes.usage, { cause: error });
}
