import path from 'node:path';
import { loadToolConfig, type ToolConfig } from '../config/index.ts';
import { hidePassword } from '../config/forms.ts';
import { postgresDir, runningPostgres } from '../embedded/postgres.ts';
import { errorCode, isUnavailable, openDatabase, type Sql } from '../store/db.ts';
import { checkSchema, SchemaError } from '../store/migrate.ts';
import { CommandError, messageOf } from './errors.ts';

export interface DatabaseNeeds {
  /** Default: a schema that this release can work with. */
  schema?: 'any';
  /** How long one answer may take, ms; default 35 s. */
  answerWithinMs?: number;
}

/**
 * Lends the configured database to a command: that of WHORL_DATABASE_URL, or else the one that a `whorl up` runs under
 * WHORL_DATA_DIR. It is always closed.
 * @throws {CommandError} when there is none, or it does not answer, or it is not migrated
 */
export async function withDatabase<T>(
  env: NodeJS.ProcessEnv,
  work: (sql: Sql) => Promise<T>,
  { schema, answerWithinMs }: DatabaseNeeds = {},
): Promise<T> {
  const { url, name } = await locate(loadToolConfig(env).config);
  const sql = openDatabase(url, { max: 2, applicationName: 'whorl command', answerTimeoutMs: answerWithinMs });
  try {
    if (schema !== 'any') await checkSchema(sql);
    return await work(sql);
  } catch (error) {
    throw inPlainWords(error, name);
  } finally {
    await sql.end({ timeout: 1 });
  }
}

export async function locate({ database }: ToolConfig): Promise<{ url: string; name: string }> {
  if (database.url !== undefined) return { url: database.url, name: hidePassword(database.url) };
  const dir = path.resolve(database.dir);
  const url = await runningPostgres(postgresDir(dir)).catch((error: unknown) => {
    const message =
      `the database under ${dir} cannot be used (${messageOf(error)}): ` +
      'run this as the user who runs `whorl up`, or set WHORL_DATABASE_URL';
    throw new CommandError(message, undefined, { cause: error });
  });
  if (url !== undefined) return { url, name: `of \`whorl up\` under ${dir}` };
  throw new CommandError(
    `there is no database: WHORL_DATABASE_URL is not set, and no \`whorl up\` runs one under ${dir}; ` +
      'set WHORL_DATABASE_URL, or start `whorl up`, or set WHORL_DATA_DIR to the folder that it uses',
  );
}

function inPlainWords(error: unknown, name: string): unknown {
  const explained = (message: string) => new CommandError(message, undefined, { cause: error });
  const code = errorCode(error) ?? '';
  if (error instanceof SchemaError) return explained(messageOf(error));
  if (isUnavailable(error)) {
    return explained(
      `the database ${name} does not answer (${messageOf(error)}): see that it runs, and check WHORL_DATABASE_URL`,
    );
  }
  if (code.startsWith('28')) {
    return explained(
      `the database ${name} refuses the login (${messageOf(error)}): check user and password in WHORL_DATABASE_URL`,
    );
  }
  if (code === '3D000') {
    return explained(`there is no such database as ${name}: create it, or correct its name in WHORL_DATABASE_URL`);
  }
  return error;
}
