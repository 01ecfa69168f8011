// @ts-check
// The two ways to get a Temporal dev server that is not there yet. Both end with a binary in the cache that runs.
import { execFile, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync, statSync, utimesSync, writeSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  cacheFolder,
  cachedTemporal,
  findTemporal,
  temporalVersion,
  versionOf,
} from '../src/embedded/temporal-binary.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const downloadMs = 60_000;
const staleMs = 60_000;
const leftoverMs = 86_400_000;

/**
 * Lets the SDK's testing package download the server: it knows from where.
 * @param {string} node a Node that runs the packages
 */
export async function downloadTemporal(node) {
  const folder = await cacheInside();
  try {
    await output(node, [path.join(root, 'scripts', 'download-temporal.mjs'), folder, temporalVersion], {
      timeout: downloadMs,
      killSignal: 'SIGKILL',
    }).then(
      (file) => install(file.trim()),
      (error) => {
        throw new Error(`Temporal's own download: ${reason(error)}`);
      },
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Builds the module that `temporal/` pins. One process builds; others that come meanwhile wait for its result.
 * @param {(line: string) => void} say
 */
export async function buildTemporal(say) {
  const go = await output('go', ['env', 'GOVERSION'], { env: { ...process.env, GOTOOLCHAIN: 'local' } }).catch(
    () => '',
  );
  const [, major = '0', minor = '0'] = /^go(\d+)\.(\d+)/.exec(go) ?? [];
  if (Number(major) < 1 || (Number(major) === 1 && Number(minor) < 26)) {
    throw new Error(`a build with Go: ${go === '' ? 'there is no Go here' : `${go.trim()} is older than Go 1.26`}`);
  }
  const unlock = await lock(say);
  const folder = await cacheInside();
  try {
    if ((await findTemporal()) !== undefined) return;
    const file = path.join(folder, 'temporal');
    const version = `-X github.com/temporalio/cli/internal/temporalcli.Version=${temporalVersion}`;
    await new Promise((resolve, reject) => {
      const args = ['build', '-trimpath', '-ldflags', `-s -w ${version}`, '-o', file];
      const child = spawn('go', [...args, 'github.com/temporalio/cli/cmd/temporal'], {
        cwd: path.join(root, 'temporal'),
        stdio: ['ignore', 'inherit', 'pipe'],
        // The toolchain and the modules that were tested, and no others.
        env: { ...process.env, GOTOOLCHAIN: 'local', GOFLAGS: '-mod=readonly', GOWORK: 'off', CGO_ENABLED: '0' },
      });
      let complaint = '';
      child.stderr.on('data', (chunk) => {
        // A line per module that it downloads would say nothing to a person.
        const text = String(chunk).replace(/^go: downloading .*\n/gm, '');
        complaint = (complaint + text).slice(-4_000);
      });
      child.once('error', reject);
      child.once('exit', (code) => {
        if (code === 0) resolve(undefined);
        else reject(new Error(`a build with Go: exit code ${code}\n${complaint.trim()}`));
      });
    });
    await install(file);
  } finally {
    await rm(folder, { recursive: true, force: true });
    unlock();
  }
}

/** A folder on the file system of the cache, so that a rename from it is one step. */
async function cacheInside() {
  const cache = cacheFolder();
  await mkdir(cache, { recursive: true });
  // What an earlier one left that was killed.
  for (const name of (await readdir(cache)).filter((entry) => entry.startsWith('.new-'))) {
    const { mtimeMs } = await stat(path.join(cache, name)).catch(() => ({ mtimeMs: Date.now() }));
    if (Date.now() - mtimeMs > leftoverMs) await rm(path.join(cache, name), { recursive: true, force: true });
  }
  return mkdtemp(path.join(cache, '.new-'));
}

/** @param {string} file */
async function install(file) {
  if ((await versionOf(file)) === undefined) throw new Error(`what came is not a \`temporal\` that runs here: ${file}`);
  await rename(file, cachedTemporal());
}

/**
 * Takes the lock beside the cached binary, waiting while another process holds it. A holder shows that it lives by
 * touching the file.
 * @param {(line: string) => void} say
 * @returns {Promise<() => void>}
 */
async function lock(say) {
  await mkdir(cacheFolder(), { recursive: true });
  const file = `${cachedTemporal()}.lock`;
  let told = false;
  for (;;) {
    try {
      const handle = openSync(file, 'wx');
      writeSync(handle, `${process.pid}`);
      closeSync(handle);
      const heartbeat = setInterval(() => touch(file), 5_000);
      const unlock = () => {
        clearInterval(heartbeat);
        rmSync(file, { force: true });
      };
      process.once('SIGINT', () => {
        unlock();
        process.exit(130);
      });
      return unlock;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
    if (isStale(file)) {
      await rm(file, { force: true });
      continue;
    }
    if (!told) say('another process is building Temporal; waiting for it');
    told = true;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
}

/** @param {string} file */
function touch(file) {
  try {
    utimesSync(file, new Date(), new Date());
  } catch {
    // Taken for stale and removed, as after a sleep of the machine. Then two build, each for itself.
  }
}

/** @param {string} file */
function isStale(file) {
  try {
    if (Date.now() - statSync(file).mtimeMs > staleMs) return true;
    const holder = Number(readFileSync(file, 'utf8'));
    if (holder > 0) process.kill(holder, 0);
    return false;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ESRCH';
  }
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {import('node:child_process').ExecFileOptions} options
 * @returns {Promise<string>} what it printed
 */
function output(command, args, options) {
  return new Promise((resolve, reject) => {
    execFile(command, args, { ...options, cwd: tmpdir(), encoding: 'utf8' }, (error, stdout, stderr) => {
      if (error === null) resolve(String(stdout));
      else
        reject(error.killed === true ? new Error('no end in time') : new Error(String(stderr).trim() || error.message));
    });
  });
}

/** The innermost cause, which is what the last part of the SDK's message says. @param {unknown} error */
function reason(error) {
  const text = error instanceof Error ? error.message : String(error);
  const line = text.trim().split('\n').at(-1) ?? text;
  return line.split('): ').at(-1) ?? line;
}
