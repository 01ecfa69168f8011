import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { loadToolConfig } from '../config/index.ts';
import { temporalFile } from '../embedded/temporal-file.ts';

/**
 * The environment by which a command finds Temporal: with no server configured, that of a `whorl up` which runs under
 * WHORL_DATA_DIR; without one, as it was.
 * @throws {ConfigError} which lists everything that is wrong
 */
export async function withOwnTemporal(env: NodeJS.ProcessEnv): Promise<NodeJS.ProcessEnv> {
  const { temporal, database } = loadToolConfig(env).config;
  if (temporal.configured) return env;
  const address = await readFile(temporalFile(path.resolve(database.dir)), 'utf8').catch(() => undefined);
  return address === undefined ? env : { ...env, TEMPORAL_ADDRESS: address.trim() };
}
