import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { historyFromJSON, historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { version } from '../../../src/version.ts';

export type History = Awaited<ReturnType<WorkflowHandle['fetchHistory']>>;

/** A folder for each release; its histories stay as they were recorded. */
const folder = path.join(import.meta.dirname, '../../histories');

/** The release that is recorded for. */
export const release = version;

/** A history that a release left. */
export interface Stored {
  /** `<release>/<file>` */
  name: string;
  release: string;
  file: string;
  text: string;
  history: History;
}

/** All that is stored, by release and name. */
export async function storedHistories(): Promise<Stored[]> {
  const found: Stored[] = [];
  for (const each of await releases()) {
    for (const file of await filesOf(each)) {
      const text = await readFile(path.join(folder, each, file), 'utf8');
      found.push({ name: `${each}/${file}`, release: each, file, text, history: historyFromJSON(JSON.parse(text)) });
    }
  }
  return found;
}

async function releases(): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .toSorted();
}

/** The names of the files of a release, `<shape>.json` or `<shape>-<run>.json`. */
export async function filesOf(of: string): Promise<string[]> {
  const files = await readdir(path.join(folder, of)).catch(() => []);
  return files.filter((file) => file.endsWith('.json')).toSorted();
}

export const isOfShape = (shape: string, file: string): boolean =>
  file.startsWith(shape) && /^(?:-\d+)?\.json$/.test(file.slice(shape.length));

/** Writes the runs of a shape, oldest first, in the place of what this release had of it. */
export async function saveHistories(shape: string, runs: readonly History[]): Promise<void> {
  const ours = path.join(folder, release);
  await mkdir(ours, { recursive: true });
  for (const file of await filesOf(release)) if (isOfShape(shape, file)) await rm(path.join(ours, file));
  for (const [n, history] of runs.entries()) {
    const file = runs.length > 1 ? `${shape}-${n + 1}.json` : `${shape}.json`;
    const text = JSON.stringify(JSON.parse(historyToJSON(history)), anonymous, 2);
    const leaks = leaksOf(text, [hostname()]);
    if (leaks.length > 0) throw new Error(`${file} is not stored, because it holds ${leaks.join(', ')}`);
    await writeFile(path.join(ours, file), `${text}\n`);
  }
}

/** Identities, sticky queues and stack traces name the machine that recorded. */
const anonymous = (key: string, value: unknown): unknown => {
  if (typeof value !== 'string') return value;
  if (key === 'stackTrace') return '';
  return key === 'identity' || value.startsWith('whorl@') ? 'whorl' : value;
};

const telling = [
  // paths of a machine, but not of a URL
  /(?<![\w./~-])\/(?:home|root|tmp|usr|opt|var|work|Users|private)\/[^"\s]*/g,
  // process@host and user@host:process
  /\w+@[\w.-]+:\d+|\b\d+@[\w.-]+/g,
  /Bearer [^"\s]*|BEGIN [A-Z ]*PRIVATE|\bbkua_\w*|a-webhook-secret/g,
];

/** What a history tells of the machine that recorded it, or should not hold at all; also inside of its payloads. */
export function leaksOf(text: string, names: readonly string[] = []): string[] {
  const clear = text.replaceAll(/"data": ?"([^"]*)"/g, (_all, data: string) => Buffer.from(data, 'base64').toString());
  const found = telling.flatMap((pattern) => [...clear.matchAll(pattern)].map(([leak]) => leak));
  return [...new Set([...found, ...names.filter((name) => name.length > 3 && clear.includes(name))])];
}
