// @ts-check
// Where Temporal's server is on this machine. Plain JavaScript without dependencies, because set-up uses it too, before
// there are any, on whatever Node the machine has.
import { execFile } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';

/** The version that `temporal/go.mod` pins and that the tests run on. */
export const temporalVersion = '1.8.2';
/** The first with everything that we use of the dev server. */
const oldest = { major: 1, minor: 5 };

/** @param {NodeJS.ProcessEnv} env */
export function cacheFolder(env = process.env) {
  const base = env['XDG_CACHE_HOME'];
  return path.join(base !== undefined && path.isAbsolute(base) ? base : path.join(homedir(), '.cache'), 'whorl', 'bin');
}

/** Where set-up puts the binary that it downloads or builds. Clones share it. @param {NodeJS.ProcessEnv} env */
export function cachedTemporal(env = process.env) {
  return path.join(cacheFolder(env), `temporal-${temporalVersion}${process.platform === 'win32' ? '.exe' : ''}`);
}

export const fourWays = [
  `put the \`temporal\` command line (1.5 or newer) in PATH`,
  `set WHORL_TEMPORAL_CLI to the path of a \`temporal\` binary`,
  `let this machine reach Temporal's download site, and run \`npm run setup\` again`,
  `install Go 1.26 or newer, and run \`npm run setup\` again: it builds Temporal (some minutes, once)`,
];

/**
 * Finds a Temporal that runs: the configured path, then PATH, then the cache. Starts no download and no build.
 *
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {Promise<{ path: string, version: string, from: string } | undefined>}
 * @throws when the configured path does not run: what a person asked for is not silently replaced
 */
export async function findTemporal(env = process.env) {
  const configured = env['WHORL_TEMPORAL_CLI'];
  if (configured !== undefined && configured !== '') {
    const version = await versionOf(configured);
    if (version !== undefined) return { path: configured, version, from: 'WHORL_TEMPORAL_CLI' };
    throw new Error(
      `WHORL_TEMPORAL_CLI is ${configured}, which is not a \`temporal\` command line (1.5 or newer) that runs here: ` +
        'correct the path, or unset it to let Whorl look elsewhere',
    );
  }
  for (const folder of (env['PATH'] ?? '').split(path.delimiter).filter((entry) => path.isAbsolute(entry))) {
    const file = path.join(folder, process.platform === 'win32' ? 'temporal.exe' : 'temporal');
    const version = await versionOf(file);
    if (version !== undefined) return { path: file, version, from: 'PATH' };
  }
  const file = cachedTemporal(env);
  const version = await versionOf(file);
  return version === undefined ? undefined : { path: file, version, from: 'the cache' };
}

/**
 * The version of a `temporal` binary, by running it; undefined when it is missing, too old or something else.
 *
 * @param {string} file
 * @returns {Promise<string | undefined>}
 */
export async function versionOf(file) {
  try {
    await access(file, constants.X_OK);
  } catch {
    return undefined;
  }
  /** @type {string} */
  const output = await new Promise((resolve) => {
    execFile(file, ['--version'], { timeout: 20_000 }, (error, stdout) => resolve(error === null ? stdout : ''));
  });
  const found = /temporal version (\d+)\.(\d+)\.\S+/.exec(output);
  if (found === null) return undefined;
  const major = Number(found[1]);
  const tooOld = major < oldest.major || (major === oldest.major && Number(found[2]) < oldest.minor);
  return tooOld ? undefined : found[0].slice('temporal version '.length);
}
