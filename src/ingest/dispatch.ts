import { pipelineId } from '../pipeline/ids.ts';
import { shares } from '../pipeline/share.ts';
import { listen } from '../store/listen.ts';
import * as work from '../store/work.ts';
import type { DispatchDeps } from './dispatch-deps.ts';
import { dispatchCommand, dispatchDeliveries } from './dispatch-reopen.ts';
import { dispatchTrigger } from './dispatch-trigger.ts';
import type { Lease, Running } from './leases.ts';

/** Everything of one pipeline that waits, worked on in order: its trigger, then what webhooks told, then commands. */
interface Batch {
  triggers: work.OpenTrigger[];
  deliveries: work.OpenDelivery[];
  commands: work.OpenCommand[];
}

/** The CI's per-step events of one pipeline reach its workflow at most this often, ms. */
const stepEventsEvery = 5_000;
const fetchLimit = 200;

export const dispatchSources = (): string[] => Array.from({ length: shares }, (_, share) => `dispatch/${share}`);

/**
 * Carries one share of what waits in the inbox to Temporal. Woken by notices and by a slow poll; the rows are the truth,
 * so whoever takes the share over simply goes on. One bad row never holds back the others.
 */
export function dispatchShare(deps: DispatchDeps, source: string, lease: Lease): Running {
  const { sql, log, concurrency, pollEveryMs = 5_000 } = deps;
  const share = Number(source.slice('dispatch/'.length));
  const underWay = new Map<string, Promise<void>>();
  /** When each pipeline was last told something; the oldest are forgotten. */
  const told = new Map<string, number>();
  const timers = new Set<NodeJS.Timeout>();
  let stopped = false;
  let looking: Promise<void> | undefined;
  let again = false;

  const wakeIn = (ms: number): void => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      wake();
    }, ms);
    timers.add(timer);
  };

  const wake = (): void => {
    if (stopped || lease.signal.aborted) return;
    again = true;
    looking ??= look().finally(() => {
      looking = undefined;
      if (again) wake();
    });
  };

  const look = async (): Promise<void> => {
    again = false;
    try {
      const [triggers, deliveries, commands] = await Promise.all([
        work.openTriggers(sql, share, fetchLimit),
        work.openDeliveries(sql, share, fetchLimit),
        work.openCommands(sql, share, fetchLimit),
      ]);
      const foreign = deliveries.filter(({ route }) => route === null);
      if (foreign.length > 0) await dropForeign(foreign);
      for (const [pipeline, batch] of group(triggers, deliveries, commands)) {
        if (stopped || lease.signal.aborted || underWay.size >= concurrency) break;
        if (!underWay.has(pipeline)) begin(pipeline, batch);
      }
    } catch (error) {
      log.warn({ err: error, share }, 'dispatch cannot look into the inbox');
      again = false;
      wakeIn(1_000);
    }
  };

  const begin = (pipeline: string, batch: Batch): void => {
    const done = carry(pipeline, batch).finally(() => {
      underWay.delete(pipeline);
      wake();
    });
    underWay.set(pipeline, done);
  };

  const carry = async (pipeline: string, batch: Batch): Promise<void> => {
    for (const trigger of batch.triggers) {
      await orLater({ trigger }, trigger.tries, pipeline, () => dispatchTrigger(deps, trigger));
    }
    const ready = holdBackSteps(pipeline, batch.deliveries);
    if (ready.length > 0) {
      const tries = Math.max(...ready.map((row) => row.tries));
      await orLater({ deliveries: ready.map(({ id }) => id) }, tries, pipeline, () =>
        dispatchDeliveries(deps, pipeline, ready),
      );
    }
    for (const command of batch.commands) {
      await orLater({ command: command.id }, command.tries, pipeline, () => dispatchCommand(deps, command));
    }
  };

  /** A row that fails is tried again later, with the reason in it; the others go on. */
  const orLater = async (
    row: Parameters<typeof work.postpone>[1],
    tries: number,
    pipeline: string,
    step: () => Promise<void>,
  ): Promise<void> => {
    try {
      await step();
    } catch (error) {
      const reason = reasonOf(error);
      log.warn({ pipeline, tries, reason }, 'dispatch failed, trying again');
      try {
        wakeIn(await work.postpone(sql, row, tries, reason));
      } catch (second) {
        log.warn({ err: second, pipeline }, 'dispatch cannot postpone');
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
    }
  };

  const holdBackSteps = (pipeline: string, rows: work.OpenDelivery[]): work.OpenDelivery[] => {
    if (rows.length === 0) return rows;
    const now = Date.now();
    const last = told.get(pipeline) ?? now;
    const wait = last + stepEventsEvery - now;
    if (wait > 0 && rows.every(({ event }) => event.startsWith('job.'))) {
      if (!told.has(pipeline)) remember(pipeline, now);
      wakeIn(wait);
      return [];
    }
    remember(pipeline, now);
    return rows;
  };

  const remember = (pipeline: string, now: number): void => {
    told.delete(pipeline);
    told.set(pipeline, now);
    for (const oldest of told.keys()) {
      if (told.size <= 10_000) break;
      told.delete(oldest);
    }
  };

  const dropForeign = async (rows: work.OpenDelivery[]): Promise<void> => {
    for (const { build, event } of rows) log.debug({ build, event }, 'a delivery for a build that is not ours');
    await work.settleDeliveries(
      sql,
      rows.map(({ id }) => id),
      'foreign',
      'Neither its build nor what it was rebuilt from is ours, and its keys lead to no job.',
    );
  };

  const listener = listen(sql, ['inbox'], (_channel, payload) => {
    if (payload === '' || Number(payload) === share) wake();
  });
  const poll = setInterval(wake, pollEveryMs);
  wake();

  return {
    async stop() {
      stopped = true;
      clearInterval(poll);
      for (const timer of timers) clearTimeout(timer);
      await listener.close();
      await looking;
      await Promise.all(underWay.values());
    },
  };
}

function group(
  triggers: work.OpenTrigger[],
  deliveries: work.OpenDelivery[],
  commands: work.OpenCommand[],
): Map<string, Batch> {
  const batches = new Map<string, Batch>();
  const of = (pipeline: string): Batch => {
    const batch = batches.get(pipeline) ?? { triggers: [], deliveries: [], commands: [] };
    batches.set(pipeline, batch);
    return batch;
  };
  for (const row of triggers) of(pipelineId(row.knot, row.rkey)).triggers.push(row);
  for (const row of deliveries) if (row.pipeline !== null) of(row.pipeline).deliveries.push(row);
  for (const row of commands) of(row.pipeline).commands.push(row);
  return batches;
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return `${error.message}${cause}`.slice(0, 1000);
}
