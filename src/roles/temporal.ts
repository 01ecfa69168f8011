import { Client } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import type { NativeConnectionOptions } from '@temporalio/worker';
import { connectLazily } from './connection.ts';
import { tlsAdvice, tlsProblem } from '../clients/tls-problem.ts';
import type { Check } from '../health/health.ts';

/** Where Temporal is. */
export interface TemporalAt {
  /** All that the environment can say; the client's kind of connection and the worker's take the same. */
  connection: Pick<NativeConnectionOptions, 'address' | 'tls' | 'apiKey' | 'metadata'>;
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

/** The same for the worker's own kind of connection, which does not take what is undefined for absent. */
export function nativeOptions({ connection }: TemporalAt): NativeConnectionOptions {
  return Object.fromEntries(Object.entries(connection).filter(([, value]) => value !== undefined));
}

/** The advice when nothing is known but that nobody answers. */
export const notThere = 'see that it runs, and check TEMPORAL_ADDRESS';

/** What to look at when Temporal cannot be talked to. */
export function temporalAdvice(why: string): string {
  if (/unauthenticated|permission ?denied|unauthorized/i.test(why)) return 'check TEMPORAL_API_KEY';
  if (/certificate|tls|ssl|unknown ?issuer|handshake/i.test(why)) {
    return tlsAdvice;
  }
  if (/code: ('Some requested entity was not found'|NotFound)/.test(why))
    return 'check TEMPORAL_NAMESPACE: there is none of that name';
  return notThere;
}

/** Connects at the first call, so that a role starts while Temporal is away. */
export function openClient({ connection, namespace }: TemporalAt): Client {
  return new Client({ connection: connectLazily(connection), namespace });
}

export const temporalCheck =
  (client: Client, { connection }: TemporalAt): Check =>
  async () => {
    try {
      await client.connection.withDeadline(Date.now() + 1_000, () =>
        client.workflowService.describeNamespace({ namespace: client.options.namespace }),
      );
      return { ok: true, detail: 'Temporal answers' };
    } catch (error) {
      const problem = await tlsProblem(connection.address ?? 'localhost:7233', connection.tls);
      const why = problem ?? (error instanceof Error ? error.message : String(error));
      return { ok: false, detail: `Temporal does not answer (${why}): ${temporalAdvice(why)}` };
    }
  };
