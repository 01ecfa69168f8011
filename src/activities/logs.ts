import { activityInfo, ApplicationFailure, cancellationSignal, heartbeat } from '@temporalio/activity';
import { ApplicationFailureCategory } from '@temporalio/common';
import { LRUCache } from 'lru-cache';
import type { Failure } from '../pipeline/failures.ts';
import { ProviderError } from '../providers/errors.ts';
import type { LogStep, Provider } from '../providers/provider.ts';
import { boundBuild } from '../store/builds.ts';
import type { Sql } from '../store/db.ts';
import { chunkPacker } from '../store/log-chunks.ts';
import { appendLog, completeLog, type LogState, mayList, openLog, saveSteps, stepsOf } from '../store/logs.ts';
import { isWatched } from '../store/watchers.ts';
import { errorOf } from '../store/pipelines.ts';
import type { Activities, AttemptInput, BringInput } from '../workflows/contract.ts';
import { beginning, draftOf, type ReadStep } from './log-draft.ts';
import { type Bringing, bringStep, isOwn, sayOnce } from './log-step.ts';
import type { Mask } from './mask.ts';

export interface LogDeps {
  sql: Sql;
  providers: Record<string, Provider>;
  /** Of everything that must not be seen in a log. */
  mask: () => Mask;
  /** What is kept of one log, in the CI's bytes. */
  maxLogBytes: number;
}

/** While somebody reads, the CI is asked this often, ms. */
const followEvery = 2_000;
const beatEvery = 10_000;

/** Failures that the next step would meet as well. */
const forAll: ReadonlySet<Failure> = new Set<Failure>(['RateLimited', 'CredentialsRejected', 'Forbidden']);

/** Brings the logs of builds home. May run any number of times, and twice at once: each line is there once. */
export function logActivities({ sql, providers, mask, maxLogBytes }: LogDeps): Pick<Activities, 'bring'> {
  /** What was looked at a moment ago need not be looked at again after a step that failed. */
  const seen = new LRUCache<string, true>({ max: 10_000, ttl: followEvery - 100 });

  /** The log and its build, or undefined when there is nothing to bring. */
  const begin = async (key: AttemptInput): Promise<Bringing | undefined> => {
    const [log, build] = [await openLog(sql, key), await boundBuild(sql, key)];
    if (!log || log.removed || !build) return undefined;
    const provider = Object.hasOwn(providers, build.provider) ? providers[build.provider] : undefined;
    if (!provider) {
      throw new ProviderError('TargetMissing', `This spindle has no access to the CI "${build.provider}" any more.`);
    }
    const signal = cancellationSignal();
    return { sql, key, provider, ref: build.ref, mask, maxBytes: maxLogBytes, packer: chunkPacker(), signal, log };
  };

  const list = async ({ provider, ref, signal }: Bringing): Promise<LogStep[]> => {
    const shown = await provider.steps(ref, signal);
    const hide = mask();
    return shown.map(({ name, command, remark, ...step }) => ({
      ...step,
      name: hide(name),
      ...(command === undefined ? {} : { command: hide(command) }),
      ...(remark === undefined ? {} : { remark: hide(remark) }),
    }));
  };

  /**
   * Closes a step where it was read up to. Should the log be had later after all, it goes on from there; not so if the
   * step is given up for a reason, which is then its last line.
   */
  const close = async (key: AttemptInput, name: string, reason?: string): Promise<LogState | undefined> => {
    for (;;) {
      const log = await openLog(sql, key);
      const step = (await stepsOf<ReadStep['place']>(sql, key)).find((one) => one.step === name);
      if (!log || log.removed || !step || step.done || (reason === undefined && !isOpen(step))) return log;
      const draft = draftOf({ log, step, mask: mask(), url: null });
      if (reason !== undefined) draft.say(`[… the rest of this step could not be fetched: ${reason} …]`);
      draft.end(reason !== undefined);
      const answer = await appendLog(sql, key, await draft.addition());
      if (answer.added) return answer.log;
    }
  };

  /** Brings what is new of these steps. One that cannot be had now does not hold back the others. */
  const bringSteps = async (bringing: Bringing, steps: ReadStep[], whole: boolean): Promise<void> => {
    const withLog = steps.filter((step) => !isOwn(step) && step.about.remark === undefined);
    const open = steps.filter(({ done, about }) => !done && about.state !== 'waiting');
    let failure: ProviderError | undefined;
    for (const [n, step] of open.entries()) {
      const ended = whole || step.about.state === 'ended';
      const name = `${bringing.key.pipeline} ${bringing.key.attempt} ${bringing.key.job} ${step.step}`;
      if (!ended && (step.about.remark !== undefined || seen.has(name))) continue;
      const more = open.slice(n + 1).some(({ about }) => about.remark === undefined);
      try {
        await bringStep(bringing, step, { ended, more, labelled: withLog.length > 1 });
        seen.set(name, true);
      } catch (error) {
        if (!(error instanceof ProviderError) || bringing.signal.aborted || forAll.has(error.failure)) throw error;
        if (error.failure === 'Transient') failure ??= error;
        else if (!whole) throw error;
        else bringing.log = (await close(bringing.key, step.step, error.message)) ?? bringing.log;
      }
    }
    if (failure) throw failure;
  };

  /** What there is now of a build that goes on. */
  const follow = async (key: AttemptInput): Promise<void> => {
    const bringing = await begin(key);
    if (!bringing?.provider.capabilities.logs) return;
    if (await mayList(sql, key, followEvery)) await saveSteps(sql, key, await list(bringing), beginning);
    await bringSteps(bringing, await stepsOf(sql, key), false);
    if (!(await isWatched(sql, key.pipeline, key.job))) return;
    throw later('Following', `following the log of ${key.job} while somebody reads it`, followEvery);
  };

  /** All of a build that has ended. */
  const finish = async (key: AttemptInput, epoch: number, patience: number): Promise<void> => {
    const bringing = await begin(key);
    if (bringing?.provider.capabilities.logs && bringing.log.complete < epoch) {
      let known = bringing.log.listed >= epoch;
      if (!known) {
        const shown = await list(bringing);
        known = waited() >= patience || shown.every(({ state }) => state !== 'running');
        await saveSteps(sql, key, shown, beginning, known ? epoch : -1);
      }
      await bringSteps(bringing, await stepsOf(sql, key), known);
      if (!known) throw later('Following', `the CI says that steps of ${key.job} still run`, growing());
    }
    const text = (await errorOf(sql, key)) ?? 'This build has no log.';
    await sayOnce({ sql, mask }, key, { id: 'none', name: 'Log', text }, true);
    await completeLog(sql, key, epoch);
  };

  /** It could not be brought: what is open is closed, and a last step says why. */
  const giveUp = async (key: AttemptInput, epoch: number | undefined, reason: string): Promise<void> => {
    const url = (await boundBuild(sql, key))?.ref.url ?? null;
    for (const { step } of (await stepsOf<ReadStep['place']>(sql, key)).filter(isOpen)) await close(key, step);
    const text = `The log could not be fetched: ${reason}${url === null ? '' : `\nThe build is at ${url}`}`;
    await sayOnce({ sql, mask }, key, { id: `gave-up/${epoch ?? ''}`, name: 'Log', text });
    if (epoch !== undefined) await completeLog(sql, key, epoch);
  };

  return {
    async bring({ ended, patience = 0, gaveUp, ...key }: BringInput) {
      const beat = setInterval(() => heartbeat(), beatEvery);
      try {
        if (gaveUp !== undefined) await giveUp(key, ended, gaveUp);
        else if (ended === undefined) await follow(key);
        else await finish(key, ended, patience);
      } catch (error) {
        // Whatever breaks because of a cancellation is one.
        const { aborted, reason } = cancellationSignal();
        throw aborted ? reason : error;
      } finally {
        clearInterval(beat);
      }
    },
  };
}

const isOpen = ({ done, place }: ReadStep): boolean => !done && place.open !== undefined;

/** How long this has been tried, ms; both times are Temporal's. */
function waited(): number {
  const { currentAttemptScheduledTimestampMs, scheduledTimestampMs } = activityInfo();
  return currentAttemptScheduledTimestampMs - scheduledTimestampMs;
}

const growing = (): number => Math.max(followEvery, Math.min(30_000, waited()));

/** No failure, but the way to come back: nobody is alarmed. */
const later = (type: string, message: string, delay: number): ApplicationFailure =>
  ApplicationFailure.create({
    message,
    type,
    nextRetryDelay: delay,
    category: ApplicationFailureCategory.BENIGN,
  });
