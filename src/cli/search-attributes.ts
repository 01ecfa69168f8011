import { setTimeout as delay } from 'node:timers/promises';
import { isGrpcServiceError } from '@temporalio/client';
import { msToTs } from '@temporalio/common/lib/time.js';
import {
  attributeTypeNames,
  attributeTypes,
  type AttributeType,
  wantedAttributes,
} from '../temporal/search-attributes.ts';
import { connectLazily } from '../temporal/connection.ts';
import { configuredTemporal, serverOf, temporalAdvice, tlsProblemOf } from '../temporal/where.ts';
import { CommandError, messageOf } from './errors.ts';

/** gRPC's codes, as far as an answer with one of them will not change by itself. */
const grpc = { notFound: 5, alreadyExists: 6, denied: 7, unimplemented: 12, unauthenticated: 16 } as const;
const callMs = 5_000;

export interface Ensured {
  /** Where this was, for people. */
  server: string;
  added: string[];
}

export interface EnsureOptions {
  /** Changes nothing, and throws when one is missing. */
  check?: boolean | undefined;
  /** How long a server that does not answer, or a namespace that is not there, may come up meanwhile, ms. */
  waitMs: number;
  /** Called once when it has to wait. */
  onWait?: ((why: string) => void) | undefined;
}

/** How long what is closed can be looked at in a namespace that we make. An operator may change it there. */
const retention = '72h';

/**
 * Makes sure that the search attributes of `temporal/search-attributes.json` are in the configured namespace, and that
 * this is there, where the server lets clients make one.
 */
export async function ensureSearchAttributes(
  env: NodeJS.ProcessEnv,
  { check = false, waitMs, onWait }: EnsureOptions,
): Promise<Ensured> {
  const wanted = await wantedAttributes();
  const at = configuredTemporal(env);
  const { namespace } = at;
  const server = serverOf(at);
  const connection = connectLazily({ ...at.connection, connectTimeout: callMs });
  const { operatorService, workflowService } = connection;
  const call = <T>(work: () => Promise<T>): Promise<T> => connection.withDeadline(Date.now() + callMs, work);

  let isMade = false;
  const makeNamespace = async (error: unknown): Promise<never> => {
    if (check || isMade || codeOf(error) !== grpc.notFound) throw error;
    const workflowExecutionRetentionPeriod = msToTs(retention);
    await call(() => workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod })).catch(
      (refused: unknown) => {
        // Temporal Cloud has its own way.
        if (codeOf(refused) !== grpc.alreadyExists) throw error;
      },
    );
    isMade = true;
    // It takes some seconds until every part of the server knows it, so this is asked again.
    throw error;
  };

  const missing = async (): Promise<[string, AttributeType][]> => {
    const { customAttributes } = await call(() => operatorService.listSearchAttributes({ namespace })).catch(
      makeNamespace,
    );
    for (const [name, type] of Object.entries(wanted)) checkType(name, type, customAttributes[name], server);
    return Object.entries(wanted).filter(([name]) => customAttributes[name] === undefined);
  };

  try {
    const lacking = await patiently(missing, {
      waitMs,
      onWait,
      server,
      problem: () => tlsProblemOf(at),
    });
    if (check && lacking.length > 0) {
      throw new CommandError(
        `Temporal (${server}) lacks the search attributes ${list(lacking)}: run \`whorl migrate\``,
      );
    }
    if (lacking.length > 0) {
      const searchAttributes = Object.fromEntries(lacking.map(([name, type]) => [name, attributeTypes[type]]));
      await call(() => operatorService.addSearchAttributes({ namespace, searchAttributes })).catch((error: unknown) => {
        // Somebody else was quicker.
        if (codeOf(error) !== grpc.alreadyExists) throw notAdded(error, lacking, server);
      });
    }
    return { server, added: lacking.map(([name]) => name) };
  } finally {
    await connection.close();
  }
}

/** Tries until the time is up, while another try may help. */
async function patiently<T>(
  work: () => Promise<T>,
  { waitMs, onWait, server, problem }: Pick<EnsureOptions, 'waitMs' | 'onWait'> & { server: string; problem: Problem },
): Promise<T> {
  const end = performance.now() + waitMs;
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      const final = error instanceof CommandError || isFinal(error);
      if (final || performance.now() >= end) throw await explained(error, server, problem);
      if (tries === 1) onWait?.(`waiting for Temporal (${server}): ${messageOf(error)}`);
      await delay(500);
    }
  }
}

function checkType(name: string, type: AttributeType, found: unknown, server: string): void {
  if (found === undefined || found === null || found === attributeTypes[type]) return;
  const foundName = attributeTypeNames.find((each) => attributeTypes[each] === found) ?? 'unknown';
  throw new CommandError(
    `the search attribute ${name} of Temporal (${server}) is of type ${foundName}, and Whorl needs ${type}: ` +
      'use a namespace of its own for Whorl (TEMPORAL_NAMESPACE), or remove that one there',
  );
}

/** What is wrong with TLS, which the client's own error does not say. */
type Problem = () => Promise<string | undefined>;

async function explained(error: unknown, server: string, problem: Problem): Promise<unknown> {
  if (error instanceof CommandError) return error;
  const isAway = codeOf(error) !== grpc.notFound && !isFinal(error);
  const why = (isAway ? await problem() : undefined) ?? messageOf(error);
  const message =
    codeOf(error) === grpc.notFound
      ? `the namespace does not exist in Temporal (${server}): create it (\`whorl migrate\` does, where the server lets it), or check TEMPORAL_NAMESPACE`
      : isFinal(error)
        ? `Temporal (${server}) does not let us see its search attributes (${why}): check the TEMPORAL_* credentials`
        : `Temporal (${server}) does not answer (${why}): ${temporalAdvice(why)}`;
  return new CommandError(message, undefined, { cause: error });
}

/** Temporal Cloud does not let clients do this: there it is done by its own tools. */
const notAdded = (error: unknown, lacking: [string, AttributeType][], server: string): CommandError =>
  new CommandError(
    `Temporal (${server}) did not let us add its search attributes (${messageOf(error)}): ` +
      `have them added by whoever runs it: ${list(lacking)}`,
    undefined,
    { cause: error },
  );

const list = (some: [string, AttributeType][]): string => some.map(([name, type]) => `${name} (${type})`).join(', ');

const codeOf = (error: unknown): number | undefined => (isGrpcServiceError(error) ? error.code : undefined);

const isFinal = (error: unknown): boolean =>
  ([grpc.denied, grpc.unimplemented, grpc.unauthenticated] as (number | undefined)[]).includes(codeOf(error));
