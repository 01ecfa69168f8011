import { Client, Connection } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import type { ConnectionOptions } from '@temporalio/client';
import type { NativeConnectionOptions } from '@temporalio/worker';
import type { Check } from '../health/health.ts';

/** Where Temporal is. */
export interface TemporalAt {
  connection: ConnectionOptions;
  namespace: string;
}

/** As the standard `TEMPORAL_*` names and Temporal's own configuration file say. */
export function configuredTemporal(): TemporalAt {
  const { connectionOptions, namespace } = loadClientConnectConfig();
  return { connection: connectionOptions, namespace: namespace ?? 'default' };
}

export const temporalOn = (address: string, namespace = 'default'): TemporalAt => ({
  connection: { address },
  namespace,
});

/** The same for the worker's own kind of connection. */
export function nativeOptions({ connection }: TemporalAt): NativeConnectionOptions {
  const { address, tls, apiKey, metadata } = connection;
  return {
    ...(address === undefined ? {} : { address }),
    ...(tls ? { tls } : {}),
    ...(typeof apiKey === 'string' ? { apiKey } : {}),
    ...(metadata === undefined ? {} : { metadata }),
  };
}

/** Connects at the first call, so that a role starts while Temporal is away. */
export function openClient({ connection, namespace }: TemporalAt): Client {
  return new Client({ connection: Connection.lazy(connection), namespace });
}

export const temporalCheck =
  (client: Client): Check =>
  async () => {
    try {
      await client.connection.withDeadline(Date.now() + 1_500, () =>
        client.workflowService.describeNamespace({ namespace: client.options.namespace }),
      );
      return { ok: true, detail: 'Temporal answers' };
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      return { ok: false, detail: `Temporal does not answer (${why}): see that it runs, and check TEMPORAL_ADDRESS` };
    }
  };
