import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Client } from '@temporalio/client';
import { historyFromJSON, historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { type ReplayWorkerOptions, Worker } from '@temporalio/worker';
import type { Evidence, Workflow } from '../evidence.ts';
import type { Scanner } from './scanner.ts';

type History = Awaited<ReturnType<ReturnType<Client['workflow']['getHandle']>['fetchHistory']>>;
type Replayed = Evidence['replays'][number];

export interface HistorySources {
  client: Client;
  workflows: readonly Workflow[];
  /** The workflows' code that they are replayed on. */
  code: Pick<ReplayWorkerOptions, 'workflowBundle' | 'workflowsPath'>;
  scanner: Scanner;
  /** Of so many at most; what did not end well is always among them. Unset: of all. */
  most?: number | undefined;
  seed: number;
  /** Recorded histories, as JSON: files, or folders of them. */
  recorded?: readonly string[] | undefined;
}

/** Fetches histories, looks through them for secrets, and replays them on the code of today. */
export async function replayAll(sources: HistorySources): Promise<Replayed[]> {
  const { client, scanner, code, recorded = [] } = sources;
  const replays: Replayed[] = [];
  const names = new Map<string, string>();
  const histories = async function* () {
    for (const { id, runId } of chosen(sources)) {
      const history = await client.workflow.getHandle(id, runId).fetchHistory();
      for (const event of history.events ?? []) scanner.scan('history', event, `${id} (run ${runId})`);
      names.set(runOf(history) ?? runId, `${id} (run ${runId})`);
      yield { workflowId: id, history };
    }
    for (const file of await filesOf(recorded)) {
      const history: unknown = historyFromJSON(JSON.parse(await readFile(file, 'utf8')));
      yield { workflowId: file, history };
    }
  };
  for await (const { workflowId, runId, error } of Worker.runReplayHistories(code, histories())) {
    const name = names.get(runId) ?? workflowId;
    replays.push({ name, ...(error ? { error: error.message } : {}) });
  }
  return replays;
}

/** Writes histories as JSON, for whoever looks for what went wrong. */
export async function saveHistories(
  { client, workflows, seed, most }: Omit<HistorySources, 'scanner' | 'code'>,
  dir: string,
) {
  await mkdir(dir, { recursive: true });
  for (const { id, runId } of chosen({ workflows, seed, most })) {
    const history = await client.workflow.getHandle(id, runId).fetchHistory();
    await writeFile(path.join(dir, `${id.replaceAll('/', '_')}-${runId}.json`), historyToJSON(history));
  }
}

/** The same ones for the same seed. */
function chosen({ workflows, most = Infinity, seed }: Pick<HistorySources, 'workflows' | 'most' | 'seed'>): Workflow[] {
  const well = (one: Workflow): boolean => ['COMPLETED', 'CONTINUED_AS_NEW'].includes(one.status);
  const order = new Map(
    workflows.map((one) => [one, createHash('sha256').update(`${seed} ${one.runId}`).digest('hex')]),
  );
  const place = (one: Workflow): string => `${well(one) ? 1 : 0}${order.get(one)}`;
  return workflows.toSorted((a, b) => (place(a) < place(b) ? -1 : 1)).slice(0, Math.min(most, workflows.length));
}

const runOf = ({ events }: History): string | undefined =>
  events?.[0]?.workflowExecutionStartedEventAttributes?.originalExecutionRunId ?? undefined;

async function filesOf(places: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const place of places) {
    if (!(await stat(place)).isDirectory()) files.push(place);
    else
      for (const name of await readdir(place, { recursive: true }))
        if (name.endsWith('.json')) files.push(path.join(place, name));
  }
  return files.toSorted();
}
