import { setTimeout as delay } from 'node:timers/promises';
import type { Sql } from '../store/db.ts';
import * as store from '../store/restore.ts';
import { CommandError } from './errors.ts';
import type { RestoreTemporal } from './restore-temporal.ts';
import { plain } from './text.ts';

export interface RestoreOptions {
  sql: Sql;
  temporal: RestoreTemporal;
  /** How new what was restored is; default: what the database shows. */
  contentAt?: Date | undefined;
  /** Pipelines that began so long before the backup are looked at too, also those that have ended, ms. */
  lookBackMs: number;
  /** A worker that asked for work this short a time ago may still be there, ms. */
  quietMs: number;
  /** Says what was found and asks; false: nothing is done. */
  agreed(plan: Plan): Promise<boolean>;
  print(line: string): void;
}

export interface Plan {
  contentAt: Date;
  /** Pipelines that run in Temporal. */
  running: number;
  /** It was begun before, and goes on. */
  again: boolean;
}

export interface Restored {
  epoch: number;
  /** Workflows that were ended, to be started again. */
  terminated: number;
  /** Pipelines that are opened again. */
  reopened: number;
  /** Pipelines that come again from their knots. */
  missing: number;
  refused: number;
}

/** What was written a little before the backup may have been missed by it, and clocks differ. */
const marginMs = 10 * 60_000;
/** Temporal's lists lag a little. */
const rounds = 60;

/**
 * Makes a database that is older than Temporal and the CI safe to go on with. Every step may be repeated, so a restore
 * that died is simply run again; until it has come to its end no role starts.
 *
 * @returns undefined when nobody agreed
 */
export async function restore(options: RestoreOptions): Promise<Restored | undefined> {
  const { sql, temporal, print } = options;
  await checkStopped(options);
  const open = await store.unfinishedRestore(sql);
  const contentAt = open?.contentAt ?? options.contentAt ?? (await store.contentTime(sql));
  if (!contentAt) throw new CommandError('this database is empty: there is nothing to restore; start the roles');
  const running = await temporal.running();
  if (!(await options.agreed({ contentAt, running: running.length, again: open !== undefined }))) return undefined;

  const begun = await store.beginRestore(sql, contentAt);
  print(`Restore ${begun.epoch}: the database is of ${contentAt.toISOString()}.`);
  await store.keepAnswered(sql);
  const refused = await store.cutOff(sql, begun);
  print(`Leases, cursors of readers and withheld statuses are cut off from before; commands refused: ${refused}.`);

  const terminated = await endRunning(options, begun);
  print(`Workflows that ran and are started again later: ${terminated}.`);
  const closed = await temporal.closedSince(new Date(contentAt.getTime() - marginMs));
  for (let from = 0; from < closed.length; from += 500) {
    await store.noteRestored(sql, begun, closed.slice(from, from + 500));
  }
  await store.noteUnfinished(sql, begun, options.lookBackMs);

  const { known, missing } = await store.noted(sql, begun);
  for (let from = 0; from < known.length; from += 500) {
    await store.askToReopen(sql, begun, known.slice(from, from + 500));
  }
  print(`Pipelines that will be opened again: ${known.length}; that come again from their knots: ${missing}.`);
  await store.finishRestore(sql, begun);
  return { epoch: begun.epoch, terminated, reopened: known.length, missing, refused };
}

/** Throws while somebody works on the database, or may take work of Temporal. */
async function checkStopped({ sql, temporal, quietMs, print }: RestoreOptions): Promise<void> {
  const { roles, leases } = await store.inUse(sql);
  if (roles.length > 0) {
    throw new CommandError(`${plain(roles.join(', '))} still use this database: stop all roles first`);
  }
  if (leases > 0) {
    throw new CommandError(
      `${leases} leases have not run out: stop all roles; if none runs, wait 15 seconds and run this again`,
    );
  }
  const last = await temporal.lastPoll();
  if (last === undefined || last >= quietMs) return;
  print('A worker asked Temporal for work a moment ago: waiting to see whether it still does …');
  await delay(quietMs - last);
  const then = await temporal.lastPoll();
  if (then === undefined || then >= quietMs) return;
  throw new CommandError('a worker still asks Temporal for work: stop all workers, also those on other machines');
}

/** Ends what runs: it would go on with what it knows, and the database does not know it. */
async function endRunning({ temporal, sql }: RestoreOptions, begun: store.Restore): Promise<number> {
  const ended = new Set<string>();
  for (let round = 0; round < rounds; round += 1) {
    const running = await temporal.running();
    const fresh = running.filter((pipeline) => !ended.has(pipeline));
    // Noted first: one that is ended and was forgotten would be lost.
    if (fresh.length > 0) {
      await store.noteRestored(
        sql,
        begun,
        fresh.map((pipeline) => ({ pipeline })),
      );
    }
    for (const pipeline of running) {
      await temporal.terminate(pipeline, `The database was restored (restore ${begun.epoch}); it is started again.`);
      ended.add(pipeline);
    }
    if (running.length === 0) return ended.size;
    await delay(Math.min(1_000, 100 * 2 ** round));
  }
  throw new CommandError('Temporal still lists running pipelines after they were ended: run this again in a minute');
}
