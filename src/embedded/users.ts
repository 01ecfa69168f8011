import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';

/** Whom a server runs as. Without a uid: as ourselves. */
export type User = { name: string; uid: number; gid: number } | { uid?: undefined };

/**
 * Whom a server runs as that refuses root, as PostgreSQL does: the user `postgres` where there is one, else `nobody`,
 * who is everywhere (PostgreSQL wants a user with a name). Nothing is added to the machine.
 */
export async function unprivilegedUser(): Promise<User> {
  if (process.getuid?.() !== 0) return {};
  const users = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  const found = users.find(([name]) => name === 'postgres') ?? users.find(([name]) => name === 'nobody');
  if (found?.[0] !== undefined) return { name: found[0], uid: Number(found[2]), gid: Number(found[3]) };
  throw new Error(
    'PostgreSQL does not run as root, and this machine has no user postgres or nobody to run it as: ' +
      'run Whorl as another user, or set WHORL_DATABASE_URL to a PostgreSQL of yours',
  );
}

/** The outermost folder on the way to `target` (itself included) that `user` may not enter, if there is one. */
export async function unreachable(target: string, user: User): Promise<string | undefined> {
  if (user.uid === undefined) return undefined;
  const { root } = path.parse(path.resolve(target));
  let folder = root;
  for (const part of path.relative(root, path.resolve(target)).split(path.sep)) {
    folder = path.join(folder, part);
    const { mode, uid, gid } = await stat(folder);
    const enter = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
    if ((mode & enter) === 0) return folder;
  }
  return undefined;
}
