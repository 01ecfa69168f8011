import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Client } from '@temporalio/client';
import type { ReplayWorkerOptions } from '@temporalio/worker';
import type { Sql } from '../../src/store/db.ts';
import { isUnbuilt } from '../check/reasons.ts';
import type { Evidence, Tables } from '../evidence.ts';
import { replayAll, saveHistories } from './histories.ts';
import { dumpTables, scanTables } from './rows.ts';
import { createScanner, type Secret } from './scanner.ts';
import { readShown } from './shown.ts';
import { readTables } from './tables.ts';
import { readWorkflows } from './workflows.ts';

/** What the harness knows by itself: the outside world, and what it did. */
export type Outside = Omit<Evidence, 'tables' | 'workflows' | 'sightings' | 'scan' | 'shown' | 'replays'>;

/** Where the rest is. */
export interface Sources {
  sql: Sql;
  /** For `whorl show`. */
  databaseUrl: string;
  /** With its namespace. A worker must still run: workflows are asked for their details. */
  client: Client;
  /** Which workflows, as a visibility query; unset: all. */
  query?: string;
  /** The workflows' code that histories are replayed on. */
  code: Pick<ReplayWorkerOptions, 'workflowBundle' | 'workflowsPath'>;
  /** Replays and looks through so many histories at most; unset: all. */
  maxHistories?: number;
  /** Recorded histories to be replayed too: files, or folders of them. */
  recorded?: readonly string[];
  secrets: readonly Secret[];
  /** Files to look through for secrets. `place`: `log of worker-1`. */
  files?: readonly { place: string; path: string }[];
  /** The same for texts. `place`: `metrics of server-1`. */
  texts?: readonly { place: string; text: string }[];
  /** Says what is being done. */
  say?: (what: string) => void;
}

/** Reads all that Whorl and Temporal hold, and looks through it for secrets. */
export async function gather(outside: Outside, sources: Sources): Promise<Evidence> {
  const { sql, databaseUrl, client, query, code, recorded, say = () => {} } = sources;
  say('reading the tables');
  const scanner = createScanner(sources.secrets);
  const tables = await readTables(sql);
  const explained = needsReason(tables);
  const started = tables.triggers.filter(({ state }) => state === 'started').map(idOf);
  say('asking Temporal for the workflows');
  const workflows = await readWorkflows({ client, query, expected: started, explained });
  const turnedAway = tables.triggers.filter(({ state }) => ['refused', 'early', 'held'].includes(state)).map(idOf);
  const shown = await readShown(databaseUrl, [...turnedAway, ...explained]);

  say('looking for secrets');
  scanner.scan('whorl show', Object.values(shown));
  scanner.scan(
    'workflows',
    workflows.map(({ details, pending, taskFailure }) => ({ details, pending, taskFailure })),
  );
  scanner.scan('frames', outside.frames);
  for (const { place, text } of sources.texts ?? []) scanner.scan(place, text);
  for (const file of sources.files ?? []) {
    const look = scanner.stream(file.place);
    for await (const piece of createReadStream(file.path)) look(piece as Buffer);
  }
  await scanTables(sql, scanner);
  say('replaying histories');
  const { seed } = outside;
  const replays = await replayAll({ client, workflows, code, scanner, seed, recorded, most: sources.maxHistories });
  return { ...outside, tables, workflows, shown, replays, sightings: [...scanner.sightings], scan: scanner.scanned };
}

const idOf = ({ knot, rkey }: { knot: string; rkey: string }): string => `pipeline/${knot}/${rkey}`;

/** Pipelines with a job that has no build to explain it. */
function needsReason({ jobs, attempts }: Tables): Set<string> {
  const of = Map.groupBy(attempts, ({ pipeline, job }) => `${pipeline} ${job}`);
  const unbuilt = jobs.filter((row) => isUnbuilt({ row, attempts: of.get(`${row.pipeline} ${row.name}`) ?? [] }));
  return new Set(unbuilt.map(({ pipeline }) => pipeline));
}

/** Keeps everything that the verdicts rest on in a folder: the evidence, the whole database, and the histories. */
export async function saveEvidence(
  dir: string,
  evidence: Evidence,
  { sql, client, maxHistories }: Pick<Sources, 'sql' | 'client' | 'maxHistories'>,
): Promise<void> {
  await dumpTables(sql, path.join(dir, 'tables'));
  const parts = path.join(dir, 'outside');
  await mkdir(parts, { recursive: true });
  const { ci, tables: _tables, ...rest } = evidence;
  const lists = { ...rest, builds: ci.builds, requests: ci.requests, webhooks: ci.deliveries };
  for (const [name, value] of Object.entries(lists)) {
    const items: unknown[] = Array.isArray(value) ? value : [value];
    const lines = Readable.from(items.map((item) => `${JSON.stringify(item)}\n`));
    await pipeline(lines, createWriteStream(path.join(parts, `${name}.jsonl`)));
  }
  const { workflows, seed } = evidence;
  await saveHistories({ client, workflows, seed, most: maxHistories }, path.join(dir, 'histories'));
}
