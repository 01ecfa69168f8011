import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TestProject } from 'vitest/node';
import { type Postgres, startPostgres } from '../../src/embedded/postgres.ts';
import { startTemporal } from '../../src/embedded/temporal.ts';
import { startTemporalServer, type TemporalServer } from './temporal-server.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** A throw-away cluster for the whole run; the user may create databases, and each test file should. */
    postgresUrl: string;
    temporalAddress: string;
    temporalNamespace: string;
    /** For `workflowBundle: { codePath }`. */
    workflowBundlePath: string;
  }
}

/** One PostgreSQL, one Temporal and one bundle of the workflows for the whole run, unless no test of it needs them. */
export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  if (!(await needsServices(project))) return undefined;
  const dir = await mkdtemp(path.join(tmpdir(), 'whorl-test-'));
  const database = startPostgres();
  const starts = await Promise.allSettled([database, temporalOf(database), bundle(dir)]);
  const [postgres, temporal, workflowBundlePath] = starts;
  const stop = async (): Promise<void> => {
    // One of them may need the other until its end.
    for (const start of [temporal, postgres]) if (start.status === 'fulfilled') await start.value.stop();
    await rm(dir, { recursive: true, force: true });
  };
  if (postgres.status !== 'fulfilled' || temporal.status !== 'fulfilled' || workflowBundlePath.status !== 'fulfilled') {
    await stop();
    throw starts.find((start) => start.status === 'rejected')?.reason;
  }
  project.provide('postgresUrl', postgres.value.url);
  project.provide('temporalAddress', temporal.value.address);
  project.provide('temporalNamespace', temporal.value.namespace);
  project.provide('workflowBundlePath', workflowBundlePath.value);
  return stop;
}

/** The dev server; or, for `npm run test:cluster`, the one of production, on the same PostgreSQL. */
async function temporalOf(database: Promise<Postgres>): Promise<TemporalServer> {
  if (process.env['WHORL_TEST_TEMPORAL'] !== 'server') return startTemporal();
  return startTemporalServer((await database).url);
}

/** A file that imports only the program and its simulators, and injects nothing, does without. */
async function needsServices(project: TestProject): Promise<boolean> {
  const selected = project.vitest.state.getPaths();
  const texts = await Promise.all(selected.map((file) => readFile(file, 'utf8')));
  const other = /from '\.\.?\/(?!(?:\.\.\/)*(?:src|sim|scripts)\/)/;
  return selected.length === 0 || texts.some((text) => /\binject\(/.test(text) || other.test(text));
}

/** Where the bundle is; empty while there are no workflows. */
async function bundle(dir: string): Promise<string> {
  const workflowsPath = fileURLToPath(new URL('../../src/workflows/index.ts', import.meta.url));
  if (!existsSync(workflowsPath)) return '';
  const file = path.join(dir, 'workflows.js');
  const { bundleWorkflowCode } = await import('@temporalio/worker');
  const { code } = await bundleWorkflowCode({
    workflowsPath,
    logger: { trace() {}, debug() {}, info() {}, log() {}, warn: console.warn, error: console.error },
  });
  await writeFile(file, code);
  return file;
}
