import { execFile } from 'node:child_process';
import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const here = path.join(import.meta.dirname, '..');

/** Another release of this program, with our packages. */
export interface Release {
  root: string;
  /** Runs a command of it and gives what it printed; throws when its exit code is not 0. */
  whorl(args: string[], env: Record<string, string>): Promise<string>;
  remove(): Promise<void>;
}

/** This tree. */
export const present: Release = { root: here, whorl: commandOf(here), remove: async () => {} };

/** The tree as it was at a commit, in a folder of its own. */
export async function releaseAt(commit: string): Promise<Release> {
  const found = await run('git', ['cat-file', '-e', `${commit}^{commit}`], { cwd: here }).then(
    () => true,
    () => false,
  );
  if (!found) {
    throw new Error(
      `the history of this clone lacks the commit ${commit}, from which the test upgrades: ` +
        'a shallow clone is not enough, fetch the rest with `git fetch --unshallow`',
    );
  }
  const root = await mkdtemp(path.join(tmpdir(), 'whorl-release-'));
  await run('sh', ['-c', 'git archive "$1" | tar -x -C "$2"', 'sh', commit, root], { cwd: here });
  await symlink(path.join(here, 'node_modules'), path.join(root, 'node_modules'));
  return { root, whorl: commandOf(root), remove: () => rm(root, { recursive: true, force: true }) };
}

function commandOf(root: string): Release['whorl'] {
  return async (args, env) => {
    const { PATH, HOME } = process.env;
    const { stdout } = await run(process.execPath, [path.join(root, 'src/main.ts'), ...args], {
      env: { PATH, HOME, ...env },
    });
    return stdout;
  };
}
