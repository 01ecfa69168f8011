import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { bundleWorkflowCode } from '@temporalio/worker';

const root = path.join(import.meta.dirname, '../../..');

/** Something else in the place of a text that stands in a file of `src`. */
export type Edit = readonly [file: string, from: string, to: string];

/** The program with edits of its source, in a folder of its own: the code of another release. */
export async function changedProgram(edits: readonly Edit[]): Promise<{ dir: string; remove(): Promise<void> }> {
  const dir = await mkdtemp(path.join(tmpdir(), 'whorl-changed-'));
  await cp(path.join(root, 'src'), path.join(dir, 'src'), { recursive: true });
  await cp(path.join(root, 'package.json'), path.join(dir, 'package.json'));
  await symlink(path.join(root, 'node_modules'), path.join(dir, 'node_modules'));
  for (const [name, from, to] of edits) {
    const file = path.join(dir, 'src', name);
    const text = await readFile(file, 'utf8');
    if (!text.includes(from))
      throw new Error(`${name} no longer holds ${JSON.stringify(from)}: change this edit with it`);
    await writeFile(file, text.replace(from, to));
  }
  return { dir, remove: () => rm(dir, { recursive: true, force: true }) };
}

/** The bundle of its workflows. */
export async function changedBundle(edits: readonly Edit[]): Promise<string> {
  const { dir, remove } = await changedProgram(edits);
  try {
    const silent = { trace() {}, debug() {}, info() {}, log() {}, warn() {}, error: console.error };
    const workflowsPath = path.join(dir, 'src/workflows/index.ts');
    return (await bundleWorkflowCode({ workflowsPath, logger: silent })).code;
  } finally {
    await remove();
  }
}
