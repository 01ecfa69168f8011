import { ConfigError, loadToolConfig, type ToolConfig } from '../config/index.ts';
import { type Check, type Finding, type Need } from './check.ts';
import { ciChecks } from './ci.ts';
import { configFindings } from './config.ts';
import { databaseChecks, type DatabasePlace } from './database.ts';
import { ingestChecks } from './ingest.ts';
import { jetstreamChecks } from './jetstream.ts';
import { knotChecks } from './knots.ts';
import { ownerChecks } from './owner.ts';
import { publicChecks } from './public.ts';
import { temporalChecks } from './temporal.ts';
import { webhookChecks } from './webhooks.ts';
import { storageChecks, workChecks } from './work.ts';
import { workerChecks } from './workers.ts';
import { type Group, groups } from './groups.ts';

export type { Finding, State } from './check.ts';
export type { DatabasePlace } from './database.ts';
export { type Group, groups } from './groups.ts';

export interface DoctorOptions {
  env: NodeJS.ProcessEnv;
  /** Opens the database of this configuration; rejects with a sentence when there is none. It is closed by whoever opened it. */
  database: Need<DatabasePlace>;
  /** Default all. */
  only?: readonly Group[] | undefined;
  /** For each check by itself, ms. */
  timeoutMs: number;
  /** Where our public face is. Default by the configured hostname. */
  url?: string | undefined;
}

export type Examined = Finding & { group: Group };

/** Looks at everything at once, and changes nothing. The findings come in the order of the groups. */
export async function examine(options: DoctorOptions): Promise<Examined[]> {
  const { env, only = groups } = options;
  const wanted = groups.filter((group) => only.includes(group));
  let config: ToolConfig;
  try {
    ({ config } = loadToolConfig(env));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return configFindings(env).map((finding) => ({ ...finding, group: 'config' }));
  }
  const { checks, close } = allChecks(config, options);
  try {
    const found = await Promise.all(
      wanted.map(async (group) => {
        const findings = await Promise.all(checks[group].map((each) => each(options.timeoutMs)));
        return findings.flat().map((finding) => ({ ...finding, group }));
      }),
    );
    const hide = hider(config);
    return found.flat().map((finding) => ({
      ...finding,
      found: hide(finding.found),
      ...(finding.advice === undefined ? {} : { advice: hide(finding.advice) }),
    }));
  } finally {
    await close();
  }
}

function allChecks(config: ToolConfig, { env, database, timeoutMs, url: given }: DoctorOptions) {
  const url = given ?? `${config.dev ? 'http' : 'https'}://${config.hostname ?? 'localhost'}`;
  const { checks: ofDatabase, sql } = databaseChecks(database, timeoutMs);
  const { checks: ofTemporal, temporal, close: closeTemporal } = temporalChecks(config, env, timeoutMs);
  const { checks: ofIngest, ingest } = ingestChecks(sql, config);
  const { checks: ofOwner, close: closeOwner } = ownerChecks(config, timeoutMs);
  const { checks: ofPublic, face } = publicChecks(config, url, timeoutMs);
  const checks: Record<Group, Check[]> = {
    config: [async () => configFindings(env)],
    database: ofDatabase,
    temporal: [...ofTemporal, ...workerChecks(temporal, config, timeoutMs)],
    ingest: ofIngest,
    knots: knotChecks(sql, config),
    network: [...jetstreamChecks(ingest, config, timeoutMs), ...ofOwner],
    ci: ciChecks(sql, config, timeoutMs),
    public: ofPublic,
    webhooks: webhookChecks(face, sql, config, url, timeoutMs),
    work: workChecks(sql),
    storage: storageChecks(sql, config),
  };
  return {
    checks,
    close: async () => void (await Promise.allSettled([closeTemporal(), closeOwner()])),
  };
}

/** No message should hold a secret; if one does all the same, it stays here. */
function hider({ logs }: ToolConfig): (text: string) => string {
  const secrets = logs.secrets().filter((secret) => secret.length >= 6);
  return (text) => secrets.reduce((clean, secret) => clean.replaceAll(secret, '••••'), text);
}
