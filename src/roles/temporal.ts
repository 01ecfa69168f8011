import { Client } from '@temporalio/client';
import type { NativeConnectionOptions } from '@temporalio/worker';
import { connectLazily } from '../temporal/connection.ts';
import { temporalAdvice, type TemporalAt, whyAway } from '../temporal/where.ts';
import type { Check } from '../health/health.ts';

/** The settings for the worker's own kind of connection, which does not take what is undefined for absent. */
export function nativeOptions({ connection }: TemporalAt): NativeConnectionOptions {
  return Object.fromEntries(Object.entries(connection).filter(([, value]) => value !== undefined));
}

/** Connects at the first call, so that a role starts while Temporal is away. */
export function openClient({ connection, namespace }: TemporalAt): Client {
  return new Client({ connection: connectLazily(connection), namespace });
}

export const temporalCheck =
  (client: Client, at: TemporalAt): Check =>
  async () => {
    try {
      await client.connection.withDeadline(Date.now() + 1_000, () =>
        client.workflowService.describeNamespace({ namespace: client.options.namespace }),
      );
      return { ok: true, detail: 'Temporal answers' };
    } catch (error) {
      const why = await whyAway(at, error);
      return { ok: false, detail: `Temporal does not answer (${why}): ${temporalAdvice(why)}` };
    }
  };
