import { loadClientConnectConfig } from '@temporalio/envconfig';
import type { NativeConnectionOptions } from '@temporalio/worker';
import { tlsAdvice, tlsProblem } from './tls-problem.ts';

/** Where Temporal is. */
export interface TemporalAt {
  /** All that the environment can say; the client's kind of connection and the worker's take the same. */
  connection: Pick<NativeConnectionOptions, 'address' | 'tls' | 'apiKey' | 'metadata'>;
  namespace: string;
}

/** As the standard `TEMPORAL_*` names and Temporal's own configuration file say. */
export function configuredTemporal(env: NodeJS.ProcessEnv = process.env): TemporalAt {
  const given = Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const { connectionOptions, namespace } = loadClientConnectConfig({ overrideEnvVars: Object.fromEntries(given) });
  return { connection: connectionOptions, namespace: namespace ?? 'default' };
}

export const temporalOn = (address: string, namespace = 'default'): TemporalAt => ({
  connection: { address },
  namespace,
});

/** `host:port`: the SDK's default when nothing else is said. */
export const addressOf = ({ connection }: TemporalAt): string => connection.address ?? 'localhost:7233';

/** For people: address and namespace. */
export const serverOf = (at: TemporalAt): string => `${addressOf(at)}, namespace ${at.namespace}`;

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

/** What is wrong with TLS to it, which gRPC's client does not say; undefined: nothing, or there is none. */
export const tlsProblemOf = (at: TemporalAt): Promise<string | undefined> =>
  tlsProblem(addressOf(at), at.connection.tls);

/** Why a call to it failed, in words. */
export async function whyAway(at: TemporalAt, error: unknown): Promise<string> {
  return (await tlsProblemOf(at)) ?? (error instanceof Error ? error.message : String(error));
}
