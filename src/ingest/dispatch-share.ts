import { pipelineId } from '../pipeline/ids.ts';
import { secondsSince } from '../metrics/bounded.ts';
import { dispatched } from '../metrics/index.ts';
import * as work from '../store/work.ts';
import { traced } from '../tracing/index.ts';
import type { DispatchDeps } from './dispatch-deps.ts';
import { dispatchCommand, dispatchDeliveries } from './dispatch-reopen.ts';
import { dispatchTrigger } from './dispatch-trigger.ts';
import type { Lease } from './leases.ts';

/** Everything of one pipeline that waits, worked on in order: its trigger, then what webhooks told, then commands. */
interface Batch {
  /** Names of all its rows. */
  rows: string[];
  triggers: work.OpenTrigger[];
  deliveries: work.OpenDelivery[];
  commands: work.OpenCommand[];
}

export interface Share {
  /** Rows of these kinds wait, or may wait. */
  wake(kinds: readonly work.WorkKind[]): void;
  /** A webhook came. */
  wakeForDelivery(): void;
  /** Only a step of a build was told of: it can wait a little, and often there are many. */
  wakeForStep(): void;
  /** Finishes what is under way. */
  stop(): Promise<void>;
}

export const allKinds: readonly work.WorkKind[] = ['triggers', 'deliveries', 'commands'];

/** The CI's per-step events of one pipeline reach its workflow at most this often, ms. */
const stepEventsEvery = 5_000;
/** Whoever tells of nothing but steps is looked after at most this often, ms. */
const stepLooksEvery = 1_000;
/**
 * Builds of one pipeline often begin and end together. What comes within this time, ms, goes in one signal, so that the
 * workflow has one task and publishes once, where it would otherwise come late to all but the first.
 */
const gatherMs = 5;
const retryMs = 1_000;
const fetchLimit = 200;

/**
 * Carries one share of what waits in the inbox to Temporal. The rows are the truth, so whoever takes the share over
 * simply goes on. One bad row never holds back the others.
 * @param lookIn asks for a look at what is due, this soon, ms
 */
export function dispatchShare(deps: DispatchDeps, share: number, lease: Lease, lookIn: (ms: number) => void): Share {
  const { sql, log, concurrency } = deps;
  const running = new Set<Promise<void>>();
  /** Pipelines whose trigger or command is under way: nothing else of theirs begins meanwhile. */
  const reserved = new Set<string>();
  /** Rows under way, and rows that a look which began before they were settled may still find. */
  const carried = new Set<string>();
  const settled: string[] = [];
  /** When each pipeline was last told something; the oldest are forgotten. */
  const told = new Map<string, number>();
  let stopped = false;
  let looking: Promise<void> | undefined;
  /** Kinds of rows to look for next. */
  const wanted = new Set<work.WorkKind>();
  /** Something had to wait for what is under way. */
  let left = false;
  let deliveriesAt = -Infinity;
  let timer: NodeJS.Timeout | undefined;
  let timerAt = Infinity;
  /** Kinds to look for when the timer fires. */
  const later = new Set<work.WorkKind>();

  /** One timer for all that waits here: what it comes too early for asks again. */
  const wakeIn = (ms: number, kinds: readonly work.WorkKind[]): void => {
    for (const kind of kinds) later.add(kind);
    const at = performance.now() + ms;
    if (stopped || at >= timerAt) return;
    clearTimeout(timer);
    timerAt = at;
    timer = setTimeout(() => {
      timerAt = Infinity;
      const now = [...later];
      later.clear();
      wake(now);
    }, ms);
  };

  const wake = (kinds: readonly work.WorkKind[]): void => {
    if (stopped || lease.signal.aborted) return;
    for (const kind of kinds) wanted.add(kind);
    looking ??= look().finally(() => {
      looking = undefined;
      if (wanted.size > 0) wake([]);
    });
  };

  const look = async (): Promise<void> => {
    const now = new Set(wanted);
    wanted.clear();
    // Only a look at everything shows that nothing is left.
    if (now.size === allKinds.length) left = false;
    if (now.has('deliveries')) deliveriesAt = performance.now();
    for (const row of settled.splice(0)) carried.delete(row);
    try {
      const [triggers, deliveries, commands] = await Promise.all([
        now.has('triggers') ? work.openTriggers(sql, share, fetchLimit) : [],
        now.has('deliveries') ? work.openDeliveries(sql, share, fetchLimit) : [],
        now.has('commands') ? work.openCommands(sql, share, fetchLimit) : [],
      ]);
      const foreign = deliveries.filter(({ route }) => route === null);
      if (foreign.length > 0) await dropForeign(foreign);
      left ||= [triggers, deliveries, commands].some((rows) => rows.length === fetchLimit);
      for (const [pipeline, batch] of group(triggers, deliveries, commands, (row) => !carried.has(row))) {
        if (stopped || lease.signal.aborted) break;
        if (reserved.has(pipeline) || running.size >= concurrency) left = true;
        else if (!onlySteps(batch) || mayTellSteps(pipeline)) begin(pipeline, batch);
      }
    } catch (error) {
      log.warn({ err: error, share }, 'dispatch cannot look into the inbox');
      wakeIn(retryMs, [...now]);
    }
  };

  /** What webhooks tell needs no order and may overtake itself; what starts or commands a pipeline goes alone. */
  const begin = (pipeline: string, batch: Batch): void => {
    const alone = batch.triggers.length + batch.commands.length > 0;
    if (alone) reserved.add(pipeline);
    for (const row of batch.rows) carried.add(row);
    const done = carry(pipeline, batch).finally(() => {
      running.delete(done);
      if (alone) reserved.delete(pipeline);
      settled.push(...batch.rows);
      if (left) wake(allKinds);
    });
    running.add(done);
  };

  const carry = async (pipeline: string, batch: Batch): Promise<void> => {
    for (const trigger of batch.triggers) {
      await orLater({ trigger }, trigger.tries, pipeline, async () => {
        const about = { pipeline, epoch: 0, name: 'dispatch', said: { 'whorl.tries': trigger.tries } };
        const again = await traced(about, () => dispatchTrigger(deps, trigger));
        if (again !== undefined) lookIn(again);
      });
    }
    const { deliveries } = batch;
    if (deliveries.length > 0) {
      tell(pipeline);
      const tries = Math.max(...deliveries.map((row) => row.tries));
      await orLater({ deliveries: deliveries.map(({ id }) => id) }, tries, pipeline, () =>
        traced({ pipeline, name: 'dispatch webhooks' }, () => dispatchDeliveries(deps, pipeline, deliveries)),
      );
    }
    for (const command of batch.commands) {
      await orLater({ command: command.id }, command.tries, pipeline, () =>
        traced({ pipeline, name: `dispatch ${command.kind}` }, () => dispatchCommand(deps, command)),
      );
    }
  };

  /** A row that fails is tried again later, with the reason in it; the others go on. */
  const orLater = async (
    row: Parameters<typeof work.postpone>[1],
    tries: number,
    pipeline: string,
    step: () => Promise<void>,
  ): Promise<void> => {
    const began = performance.now();
    const [kind = ''] = Object.keys(row);
    try {
      await step();
      dispatched.observe({ kind, outcome: 'done' }, secondsSince(began));
    } catch (error) {
      dispatched.observe({ kind, outcome: 'failed' }, secondsSince(began));
      const reason = reasonOf(error);
      log.warn({ pipeline, tries, reason }, 'dispatch failed, trying again');
      try {
        lookIn(await work.postpone(sql, row, tries, reason));
      } catch (second) {
        log.warn({ err: second, pipeline }, 'dispatch cannot postpone');
        await new Promise((resolve) => setTimeout(resolve, 500));
        // The row is as it was, and due.
        lookIn(retryMs);
      }
    }
  };

  /** Whether the pipeline has not been told anything for a while; if it has, its steps are looked at again then. */
  const mayTellSteps = (pipeline: string): boolean => {
    const last = told.get(pipeline) ?? tell(pipeline);
    const wait = last + stepEventsEvery - Date.now();
    if (wait > 0) wakeIn(wait, ['deliveries']);
    return wait <= 0;
  };

  const tell = (pipeline: string): number => {
    const now = Date.now();
    told.delete(pipeline);
    told.set(pipeline, now);
    for (const oldest of told.keys()) {
      if (told.size <= 10_000) break;
      told.delete(oldest);
    }
    return now;
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

  return {
    wake,
    wakeForDelivery: () => wakeIn(gatherMs, ['deliveries']),
    wakeForStep: () => wakeIn(Math.max(gatherMs, deliveriesAt + stepLooksEvery - performance.now()), ['deliveries']),
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await looking;
      await Promise.all(running);
    },
  };
}

const onlySteps = ({ triggers, deliveries, commands }: Batch): boolean =>
  triggers.length + commands.length === 0 && deliveries.every(({ event }) => event.startsWith('job.'));

function group(
  triggers: work.OpenTrigger[],
  deliveries: work.OpenDelivery[],
  commands: work.OpenCommand[],
  isFree: (row: string) => boolean,
): Map<string, Batch> {
  const batches = new Map<string, Batch>();
  const of = (pipeline: string | null, row: string): Batch | undefined => {
    if (pipeline === null || !isFree(row)) return undefined;
    const batch = batches.get(pipeline) ?? { rows: [], triggers: [], deliveries: [], commands: [] };
    batches.set(pipeline, batch);
    batch.rows.push(row);
    return batch;
  };
  for (const row of triggers) {
    const id = pipelineId(row.knot, row.rkey);
    of(id, `trigger ${row.nsid} ${id}`)?.triggers.push(row);
  }
  for (const row of deliveries) of(row.pipeline, `delivery ${row.id}`)?.deliveries.push(row);
  for (const row of commands) of(row.pipeline, `command ${row.id}`)?.commands.push(row);
  return batches;
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return `${error.message}${cause}`.slice(0, 1000);
}
