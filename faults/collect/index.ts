import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import type { Summary } from '../check/index.ts';
import type { Evidence, Verdict } from '../evidence.ts';
import type { Secrets } from '../settings.ts';
import type { Run } from '../world.ts';
import { gather, saveEvidence } from './gather.ts';

export { dumpTables } from './rows.ts';
export { createScanner, type Scanner, type Secret } from './scanner.ts';

/** More histories than these cost minutes and show nothing new. */
const maxHistories = 1_000;

const workflowsPath = fileURLToPath(new URL('../../src/workflows/index.ts', import.meta.url));
/** Those that releases have recorded. */
const recorded = fileURLToPath(new URL('../../test/histories', import.meta.url));

let quietened = false;

export interface CollectOptions {
  run: Run;
  seed: number;
  /** Where the members' logs are. */
  dir: string;
  secrets: Secrets;
  faultsEndedAt: number;
  quietAt: number | null;
  /** Says what is being done. */
  say?: (what: string) => void;
}

/** All the evidence of a run whose roles still run. Its readers' frames are taken, so it is called once. */
export async function collect({ run, secrets, dir, say, ...times }: CollectOptions): Promise<Evidence> {
  const { world, database, engine, members, pushes, asked, disturbances, crashes } = run;
  // What a replay says of itself is of no use to whoever looks at a run. It can be told once in a process.
  if (!quietened) Runtime.install({ logger: new DefaultLogger('ERROR') });
  quietened = true;
  const [ci, books, { frames, logReads }] = await Promise.all([
    world.ci.truth(),
    world.tangled.pushed(),
    world.readers.take(),
  ]);
  const outside = { ...times, pushes, books, ci, frames, logReads, asked, disturbances, crashes };
  return gather(outside, {
    sql: database.sql,
    databaseUrl: database.urlAt(database.address),
    client: engine.client,
    // What removes old things may fail while the database is away; the next one does it.
    query: "WorkflowType = 'pipeline'",
    code: { workflowsPath },
    maxHistories,
    recorded: existsSync(recorded) ? [recorded] : [],
    secrets: Object.entries(secrets).map(([name, value]) => ({ name, value: String(value) })),
    texts: await Promise.all(run.metrics.map(metricsOf)),
    files: members.map(({ name }) => ({ place: `log of ${name}`, path: path.join(dir, `${name}.log`) })),
    ...(say && { say }),
  });
}

/** What a process says to Prometheus. One that has just been started again is asked until it answers. */
async function metricsOf({ name, url }: Run['metrics'][number]): Promise<{ place: string; text: string }> {
  for (let tries = 1; ; tries += 1) {
    try {
      const answer = await fetch(url, { signal: AbortSignal.timeout(5_000) });
      return { place: `metrics of ${name}`, text: await answer.text() };
    } catch (cause) {
      if (tries === 20) throw new Error(`${name} does not answer ${url}`, { cause });
      await delay(500);
    }
  }
}

/** Writes down what the verdicts rest on. */
export async function keepEvidence(
  dir: string,
  {
    run,
    evidence,
    verdicts,
    summary,
  }: { run: Run; evidence: Evidence; verdicts: readonly Verdict[]; summary: Summary },
): Promise<void> {
  await writeFile(path.join(dir, 'verdicts.json'), JSON.stringify(verdicts, undefined, 2));
  await writeFile(path.join(dir, 'summary.json'), JSON.stringify(summary, undefined, 2));
  await saveEvidence(dir, evidence, { sql: run.database.sql, client: run.engine.client, maxHistories });
}
