import type { ToolConfig } from '../config/index.ts';
import type { Sql } from '../store/db.ts';
import {
  type ParkedCause,
  parkedJobs,
  type QuarantineFacts,
  quarantineFacts,
  type StorageFacts,
  storageFacts,
  type Waiting,
  waitingWork,
} from '../store/examine-work.ts';
import { type Check, checkWith, fail, lasting, type Need, need, ok, sized, warn } from './check.ts';

const late = { warn: 60_000, fail: 600_000 };
const dayMs = 86_400_000;
/** Housekeeping goes round once in a while. */
const graceMs = 2 * dayMs;
const database = 'see the database';

/** What waits: for us, for the operator, or for ever. */
export function workChecks(sql: Need<Sql>): Check[] {
  const waiting = need(async () => waitingWork(await sql()));
  return [
    checkWith(sql, 'inbox', database, async () =>
      queue(
        (await waiting()).filter(({ kind }) => kind !== 'statuses'),
        inbox,
      ),
    ),
    checkWith(sql, 'outbox', database, async () =>
      queue(
        (await waiting()).filter(({ kind }) => kind === 'statuses'),
        outbox,
      ),
    ),
    checkWith(sql, 'parked', database, async (on) => parked(await parkedJobs(on))),
    checkWith(sql, 'quarantine', database, async (on) => quarantine(await quarantineFacts(on))),
  ];
}

/** What takes room, and whether what is old leaves. */
export function storageChecks(sql: Need<Sql>, config: ToolConfig): Check[] {
  const facts = need(async () => storageFacts(await sql()));
  return [
    checkWith(sql, 'logs', database, async () => logs(await facts(), config)),
    checkWith(sql, 'retention', database, async () => retention(await facts(), config)),
  ];
}

const inbox = 'see the logs of ingest, and that Temporal takes workflows; dispatch tries each again by itself';
const outbox = 'workers show them when they are due: see that one runs, and its log';

function queue(kinds: readonly Waiting[], advice: string) {
  const some = kinds.filter(({ count }) => count > 0);
  if (some.length === 0) return ok('nothing waits');
  const oldest = Math.max(...some.map(({ oldestMs }) => oldestMs));
  const found = `${some.map(({ kind, count }) => `${count} ${kind}`).join(', ')}; the oldest for ${lasting(oldest)}`;
  if (oldest < late.warn) return ok(found);
  return oldest < late.fail ? warn(found, advice) : fail(found, advice);
}

function parked(causes: readonly ParkedCause[]) {
  if (causes.length === 0) return ok('no job waits for its operator');
  const found = causes.map(({ cause, jobs, pipeline }) => `${jobs} by ${cause} (such as ${pipeline})`).join('; ');
  const retry = causes.map(({ cause }) => `\`whorl retry --cause ${cause}\``).join(', ');
  return warn(`jobs wait for you: ${found}`, `\`whorl show <pipeline>\` says why; once it is mended: ${retry}`);
}

function quarantine({ total, recent, source, reason }: QuarantineFacts) {
  if (total === 0) return ok('empty');
  const all = `${total} that PostgreSQL refused to store`;
  if (recent === 0) return ok(`${all}, none of them within a week`);
  const latest = `the latest from ${source ?? 'nowhere'}: ${(reason ?? '').slice(0, 200)}`;
  return warn(
    `${all}, ${recent} of them within a week; ${latest}`,
    'each was stepped over; report it: no input should do this',
  );
}

function logs({ logs: count, logBytes, oldestLogMs }: StorageFacts, { logs: { spaceBytes, days } }: ToolConfig) {
  const share = logBytes / spaceBytes;
  const oldest = oldestLogMs === null ? '' : `, the oldest of ${lasting(oldestLogMs)} ago`;
  const found = `${count} logs take ${sized(logBytes)} of ${sized(spaceBytes)} (${Math.round(share * 100)} %)${oldest}`;
  if (share > 1.05) return warn(found, 'housekeeping does not keep up: see the logs of the workers');
  if (share < 0.95) return ok(found);
  return warn(
    found,
    `the oldest leave before their ${days} days are over: raise WHORL_LOG_SPACE_GIB, or lower WHORL_LOG_DAYS`,
  );
}

function retention({ oldestLogMs, oldestDeliveryMs }: StorageFacts, { logs: { days }, keepDays }: ToolConfig) {
  const overdue = [
    { what: 'logs', ms: (oldestLogMs ?? 0) - days * dayMs },
    { what: 'contents of webhooks', ms: (oldestDeliveryMs ?? 0) - keepDays * dayMs },
  ].filter(({ ms }) => ms > graceMs);
  if (overdue.length === 0) return ok('what is old has left');
  const found = overdue.map(({ what, ms }) => `${what} should have left ${lasting(ms)} ago`).join('; ');
  return warn(found, 'housekeeping does not run: see its Schedule in the Temporal UI, and the logs of the workers');
}
