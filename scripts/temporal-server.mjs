// @ts-check
// Builds the real Temporal server and its SQL tool, which `temporal/server` pins, for `npm run test:cluster`. Not part of
// set-up, since it takes minutes.
import { execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder } from '../src/embedded/temporal-binary.mjs';

/** As in `temporal/server/go.mod`. */
const version = '1.31.2';
const packages = { server: 'go.temporal.io/server/cmd/server', sql: 'go.temporal.io/server/cmd/tools/sql' };
const folder = fileURLToPath(new URL('../temporal/server', import.meta.url));

/** Where they are once they are built. */
export const serverPrograms = {
  server: path.join(cacheFolder(), `temporal-server-${version}`),
  sql: path.join(cacheFolder(), `temporal-sql-${version}`),
};

/** Whether a program is there and runs. @param {string} file */
function runs(file) {
  return new Promise((resolve) => {
    execFile(file, ['--version'], { timeout: 20_000 }, (error, stdout) =>
      resolve(error === null && stdout.includes(version)),
    );
  });
}

/** @param {string} target @param {string} output */
function build(target, output) {
  return new Promise((resolve, reject) => {
    const child = spawn('go', ['build', '-trimpath', '-ldflags', '-s -w', '-o', output, target], {
      cwd: folder,
      stdio: ['ignore', 'inherit', 'inherit'],
      // The toolchain and the modules that were tested, and no others.
      env: { ...process.env, GOTOOLCHAIN: 'local', GOFLAGS: '-mod=readonly', GOWORK: 'off', CGO_ENABLED: '0' },
    });
    child.once('error', () => reject(new Error('there is no Go here: install Go 1.26 or newer')));
    child.once('exit', (code) => (code === 0 ? resolve(undefined) : reject(new Error(`go build ended with ${code}`))));
  });
}

/** Builds what is not there yet. */
export async function ensureServer() {
  await mkdir(cacheFolder(), { recursive: true });
  for (const name of /** @type {const} */ (['server', 'sql'])) {
    if (await runs(serverPrograms[name])) continue;
    console.log(`Building ${packages[name]} ${version} with Go: some minutes, once`);
    // In the cache, so that the rename is one step: clones share it.
    const draft = await mkdtemp(path.join(cacheFolder(), '.new-'));
    try {
      await build(packages[name], path.join(draft, name));
      await rename(path.join(draft, name), serverPrograms[name]);
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await ensureServer().catch((error) => {
    console.error(`Temporal's server is not there: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  });
}
