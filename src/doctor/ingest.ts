import { setTimeout as delay } from 'node:timers/promises';
import type { ToolConfig } from '../config/index.ts';
import { dispatchSources } from '../ingest/dispatch.ts';
import type { Sql } from '../store/db.ts';
import { ingestProcesses, sourceFacts } from '../store/examine.ts';
import { wantedKnots } from '../store/repos.ts';
import { type Check, checkWith, fail, type Need, need, ok, Skip } from './check.ts';

/** A source that was let go is taken up again within this. */
const takeOverMs = 3_000;

export interface IngestChecks {
  checks: Check[];
  /** At least one process reads what comes in; without any, nobody need wonder that a stream is not read. */
  ingest: Need<Sql>;
}

/** Whether somebody reads, and everything that should be read. */
export function ingestChecks(sql: Need<Sql>, { network }: ToolConfig): IngestChecks {
  const processes = need(async () => ingestProcesses(await sql()));
  const ingest = need(async () => {
    if ((await processes()) === 0) throw new Skip('no ingest process is alive');
    return sql();
  });
  return {
    ingest,
    checks: [
      checkWith(sql, 'processes', 'see the database', async () => alive(await processes())),
      checkWith(ingest, 'dispatch', 'see the database', (on) => held(on, dispatchSources())),
      checkWith(ingest, 'sources', 'see the database', async (on) => {
        const knots = (await wantedKnots(on)).map(({ knot }) => `knot/${knot}`);
        return held(on, [...knots, ...(network.jetstream.length > 0 ? ['jetstream', 'backfill'] : [])]);
      }),
    ],
  };
}

function alive(count: number) {
  if (count > 0) return ok(`${count} ingest process${count === 1 ? ' is' : 'es are'} alive`);
  return fail(
    'no ingest process is alive: nothing that is pushed starts a pipeline',
    'start `whorl ingest` or `whorl up`',
  );
}

async function held(sql: Sql, sources: readonly string[]) {
  const free = async () => (await sourceFacts(sql, sources)).filter(({ holder }) => holder === null);
  let orphans = await free();
  // It may be on its way from one process to another.
  if (orphans.length > 0) {
    await delay(takeOverMs);
    orphans = await free();
  }
  if (orphans.length === 0) return ok(`all ${sources.length} are read by a process that is alive`);
  const names = orphans.map(({ source }) => source);
  const found = `nobody reads ${names.slice(0, 5).join(', ')}${names.length > 5 ? ` and ${names.length - 5} more` : ''}`;
  return fail(found, 'see the log of the ingest processes: they say why they do not take it');
}
