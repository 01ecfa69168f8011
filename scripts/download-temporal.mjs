// @ts-check
// node download-temporal.mjs <folder> <version>: downloads Temporal's dev server with the SDK and prints its path.
// A program of its own, because it needs the packages and may have to be killed.
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { TestWorkflowEnvironment } from '@temporalio/testing';

const [folder = '', version = ''] = process.argv.slice(2);
try {
  const environment = await TestWorkflowEnvironment.createLocal({
    server: { executable: { type: 'cached-download', downloadDir: folder, version: `v${version}` } },
  });
  await environment.teardown();
  const [file] = await readdir(folder);
  if (file === undefined) throw new Error('nothing was downloaded');
  console.log(path.join(folder, file));
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
