import { Connection, isGrpcServiceError } from '@temporalio/client';
import { configuredTemporal, serverOf, tlsProblemOf } from '../temporal/where.ts';
import { tlsAdvice } from '../temporal/tls-problem.ts';
import type { ToolConfig } from '../config/index.ts';
import { attributeTypeNames, attributeTypes, wantedAttributes } from '../temporal/search-attributes.ts';
import { type Check, checkWith, fail, lasting, type Need, need, ok, Skip, warn, within, wordsOf } from './check.ts';

/** gRPC's codes, as far as they tell what is wrong. */
const grpc = { invalid: 3, notFound: 5, denied: 7, exhausted: 8, unimplemented: 12, unauthenticated: 16 } as const;

/** A closed pipeline should be there to look at after a weekend; on one's own machine, for a day. */
const leastRetentionMs = { dev: 24 * 3_600_000, production: 72 * 3_600_000 };
const registered = 1;

export interface TemporalLink {
  connection: Connection;
  namespace: string;
  /** For people: address and namespace. */
  server: string;
}

export interface TemporalChecks {
  checks: Check[];
  /** Reachable, and its namespace is there. */
  temporal: Need<TemporalLink>;
  close(): Promise<void>;
}

interface Namespace {
  state: number;
  retentionMs: number;
}

/** The server, our namespace in it, and what workflows need there. */
export function temporalChecks(
  { temporal: { configured }, dev }: ToolConfig,
  env: NodeJS.ProcessEnv,
  timeoutMs: number,
): TemporalChecks {
  if (!configured) {
    const nowhere = async (): Promise<never> => {
      throw new Skip('TEMPORAL_ADDRESS is not set, and no `whorl up` runs a server here');
    };
    return { checks: [checkWith(nowhere, 'reachable', '', nowhere)], temporal: nowhere, close: async () => {} };
  }
  const at = configuredTemporal(env);
  const { namespace } = at;
  // Once is enough; and what the SDK's own retries are still up to, fails when the connection is closed.
  const connection = Connection.lazy({ ...at.connection, connectTimeout: timeoutMs, interceptors: [] });
  const server = serverOf(at);
  const link = { connection, namespace, server };

  const limitMs = timeoutMs * 0.9;
  const system = need(() => calling(connection, limitMs, () => connection.workflowService.getSystemInfo({})));
  const answering = need(async () => {
    await system().catch(() => {
      throw new Skip('Temporal does not answer');
    });
    return link;
  });
  const described = need(() => calling(connection, limitMs, () => describe(link)));
  const temporal = need(async () => {
    await answering();
    await described().catch(() => {
      throw new Skip('the namespace cannot be used');
    });
    return link;
  });

  return {
    temporal,
    close: () => connection.close(),
    checks: [
      checkWith(
        async () => link,
        'reachable',
        '',
        async () => {
          try {
            return ok(`Temporal ${(await system()).serverVersion} at ${server}`);
          } catch (error) {
            return unreachable(error, server, await tlsProblemOf(at));
          }
        },
      ),
      checkWith(answering, 'namespace', 'check TEMPORAL_NAMESPACE', async () => {
        try {
          return registration(await described(), namespace);
        } catch (error) {
          return unreachable(error, server);
        }
      }),
      checkWith(temporal, 'retention', '', async () => retention(await described(), dev, namespace)),
      checkWith(temporal, 'search attributes', 'run `whorl migrate`', (on, signal) => attributes(on, signal)),
      checkWith(temporal, 'workflow tasks', 'see the log of the workers', (on, signal) => failingTasks(on, signal)),
    ],
  };
}

async function describe({ connection, namespace }: TemporalLink): Promise<Namespace> {
  const { namespaceInfo, config } = await connection.workflowService.describeNamespace({ namespace });
  const { seconds } = config?.workflowExecutionRetentionTtl ?? {};
  return { state: namespaceInfo?.state ?? 0, retentionMs: Number(seconds ?? 0) * 1_000 };
}

/** With a deadline for the call, and one for all that comes before it. */
export const calling = <T>(connection: Connection, ms: number, call: () => Promise<T>): Promise<T> =>
  within(ms, () => connection.withDeadline(Date.now() + ms * 0.95, call));

/** `tls`: what is wrong with it, which gRPC's client does not say. */
function unreachable(error: unknown, server: string, tls?: string) {
  const code = isGrpcServiceError(error) ? error.code : undefined;
  const why = wordsOf(error);
  if (code === grpc.notFound) {
    const advice = '`whorl migrate` makes it where clients may; or check TEMPORAL_NAMESPACE';
    return fail(`the namespace is not there: ${server}`, advice);
  }
  if (code === grpc.denied || code === grpc.unauthenticated) {
    return fail(`${server} does not let us in (${why})`, 'check the TEMPORAL_* credentials');
  }
  if (tls !== undefined) return fail(`${server} does not take our connection (${tls})`, tlsAdvice);
  return fail(`${server} does not answer (${why})`, 'see that Temporal runs, and check TEMPORAL_ADDRESS');
}

const registration = ({ state }: Namespace, namespace: string) =>
  state === registered
    ? ok(`${namespace} is there`)
    : fail(`${namespace} is deprecated or deleted: it takes no workflows`, 'use another one (TEMPORAL_NAMESPACE)');

function retention({ retentionMs }: Namespace, dev: boolean, namespace: string) {
  const found = `closed pipelines can be looked at for ${lasting(retentionMs)}`;
  const least = dev ? leastRetentionMs.dev : leastRetentionMs.production;
  if (retentionMs >= least) return ok(found);
  const advice = `\`temporal operator namespace update --namespace ${namespace} --retention ${least / 3_600_000}h\``;
  return warn(found, `make it ${lasting(least)} at least: ${advice}`);
}

async function attributes({ connection, namespace }: TemporalLink, signal: AbortSignal) {
  const [wanted, { customAttributes }] = await Promise.all([
    wantedAttributes(),
    connection.withAbortSignal(signal, () => connection.operatorService.listSearchAttributes({ namespace })),
  ]);
  const missing = Object.entries(wanted).filter(([name]) => customAttributes[name] == null);
  if (missing.length > 0) {
    return fail(`missing: ${missing.map(([name, type]) => `${name} (${type})`).join(', ')}`, 'run `whorl migrate`');
  }
  const others = Object.entries(wanted).filter(([name, type]) => customAttributes[name] !== attributeTypes[type]);
  if (others.length === 0) return ok(`all ${Object.keys(wanted).length} are there`);
  const typeOf = (name: string) => attributeTypeNames.find((type) => attributeTypes[type] === customAttributes[name]);
  const found = others.map(([name, type]) => `${name} is ${typeOf(name) ?? 'unknown'} and not ${type}`).join(', ');
  return fail(`of another type: ${found}`, 'use a namespace of its own for Whorl (TEMPORAL_NAMESPACE)');
}

/** A workflow whose task fails waits until somebody deploys a release that can go on with it. */
async function failingTasks({ connection, namespace }: TemporalLink, signal: AbortSignal) {
  const query = 'ExecutionStatus = "Running" AND TemporalReportedProblems IS NOT NULL';
  try {
    const { executions } = await connection.withAbortSignal(signal, () =>
      connection.workflowService.listWorkflowExecutions({ namespace, query, pageSize: 100 }),
    );
    const [first] = executions;
    if (!first) return ok('no workflow is stuck in its code');
    const count = executions.length < 100 ? `${executions.length}` : 'at least 100';
    const found = `${count} workflow(s) cannot go on, such as ${first.execution?.workflowId ?? 'one without a name'}`;
    const advice = 'see the failure in the Temporal UI; a release that can replay them heals them, also the one before';
    return fail(found, advice);
  } catch (error) {
    const code = isGrpcServiceError(error) ? error.code : undefined;
    if (code === grpc.invalid || code === grpc.unimplemented) throw new Skip('this Temporal server cannot list them');
    if (code === grpc.exhausted) throw new Skip('Temporal is asked for lists too often at the moment: its rate limit');
    throw error;
  }
}
