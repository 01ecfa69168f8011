import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { WorkflowBundle } from '@temporalio/worker';

/**
 * The workflows as one piece of code, for the sandbox that the SDK runs them in. Made in a process of its own, since what
 * the bundler takes of memory, some 200 MB, a process would never give back. Takes about two seconds.
 */
export async function bundleWorkflows(): Promise<WorkflowBundle> {
  const child = fork(fileURLToPath(new URL('./bundle-child.ts', import.meta.url)), {
    execArgv: [],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let complaint = '';
  child.stderr?.on('data', (text: Buffer) => (complaint = (complaint + text.toString()).slice(-4_000)));
  return new Promise<WorkflowBundle>((resolve, reject) => {
    child.once('message', (bundle: WorkflowBundle) => resolve(bundle));
    child.once('error', reject);
    child.once('close', (code) => reject(new Error(`the workflows could not be bundled (${code}): ${complaint}`)));
  });
}
