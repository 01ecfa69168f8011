import {
  type Build,
  type BuildkiteSim,
  double,
  type HookMatch,
  late,
  lose,
  loseAnswer,
  rateLimited,
  type RequestAction,
  type RequestMatch,
  type RouteName,
  slow,
} from '../../../sim/buildkite/index.ts';
import type { BuildEvent, HookAction, Rule } from '../../../sim/buildkite/index.ts';
import type { CiFault } from '../../contract.ts';
import { dice } from '../dice.ts';
import { fateOf } from './fates.ts';

/** What the faults need of the CI that they act on. */
export interface Patient {
  sim: BuildkiteSim;
  seed: number;
  paceMs: number;
  /** How many builds were made so far. */
  made(): number;
  /** From now on webhooks are signed with the old secret, or the right one; how many were so far. */
  oldSecret(on: boolean): void;
  signedOld(): number;
}

export interface CiFaults {
  /** Puts one on, and gives its number. */
  on(fault: CiFault): number;
  /** Takes it off, and says how often it acted. Zero for a number that is off already. */
  off(number: number): number;
  /** How long lists do not know a build that is made now, ms. */
  lag(): number;
}

/** Routes that change something: only there does it matter whether the work was done. */
const WRITES: readonly RouteName[] = ['create', 'cancel', 'rebuild', 'retry_failed_jobs', 'retry'];

/** Longest wait for the webhooks that come before an answer. */
const EARLY_MS = 20_000;

/** The faults of the CI. Which requests and webhooks they meet is drawn from the seed, a row of numbers for each fault. */
export function ciFaults(patient: Patient): CiFaults {
  const { sim, seed, paceMs } = patient;
  const active = new Map<number, () => number>();
  const lags = new Map<number, number>();
  let last = 0;
  let oldSecrets = 0;

  const lag = (): number => Math.max(0, ...lags.values());
  const setLag = (): void => sim.setIndexLag(lag());
  const request = (match: RequestMatch, action: RequestAction, lucky: () => boolean): Rule =>
    sim.onRequest({ ...match, where: lucky }, action, 'always');
  const hook = (match: HookMatch, action: HookAction, lucky: () => boolean): Rule =>
    sim.onWebhook({ ...match, where: lucky }, action, 'always');
  const ruled = (rule: Rule) => (): number => {
    rule.remove();
    return rule.hits;
  };

  const start = (fault: CiFault, number: number): (() => number) => {
    const next = dice(seed, `${fault.kind} ${number}`);
    const lucky = (): boolean => !('share' in fault) || next() < fault.share;
    switch (fault.kind) {
      case 'answer-lost':
        return ruled(request({ route: WRITES }, loseAnswer(), lucky));
      case 'accepted-500':
        return ruled(request({ route: WRITES }, { name: fault.kind, after: () => broken(500) }, lucky));
      case 'slow-create':
        return ruled(request({ route: 'create' }, slow(fault.ms), lucky));
      case 'storm-429':
        return ruled(request({}, rateLimited(fault.resetS), lucky));
      case 'storm-5xx': {
        const before = () => broken([500, 502, 503][Math.floor(next() * 3)] ?? 500);
        return ruled(request({}, { name: fault.kind, before }, lucky));
      }
      case 'index-lag': {
        const made = patient.made();
        lags.set(number, fault.ms);
        setLag();
        return () => {
          lags.delete(number);
          setLag();
          return patient.made() - made;
        };
      }
      case 'webhooks-lost':
        return ruled(hook({}, lose(), lucky));
      case 'webhooks-doubled':
        return ruled(hook({}, double(), lucky));
      case 'webhooks-reordered':
        // So late that one to three of the next ones pass it.
        return ruled(
          hook(
            {},
            late(() => Math.round(paceMs * (1.2 + 2 * next()))),
            lucky,
          ),
        );
      case 'webhooks-late':
        return ruled(hook({}, late(fault.ms), lucky));
      case 'webhooks-early':
        return ruled(request({ route: 'create' }, early(sim, seed, next), lucky));
      case 'webhooks-old-secret': {
        const signed = patient.signedOld();
        oldSecrets++;
        patient.oldSecret(true);
        return () => {
          oldSecrets--;
          patient.oldSecret(oldSecrets > 0);
          return patient.signedOld() - signed;
        };
      }
    }
  };

  return {
    on(fault) {
      last++;
      active.set(last, start(fault, last));
      return last;
    },
    off(number) {
      const end = active.get(number);
      active.delete(number);
      return end?.() ?? 0;
    },
    lag,
  };
}

const broken = (status: number) => ({ status, body: { message: 'Internal Server Error' } });

/** Holds the answer until the build's first webhooks were sent: that it is scheduled, often that it runs, or that it is over. */
function early(sim: BuildkiteSim, seed: number, next: () => number): RequestAction {
  return {
    name: 'webhooks-early',
    async after(request) {
      if (!request.build) return;
      const wait = sim.afterWebhooks(...eventsBefore(sim.build(request.build.id), seed, next())).after?.(request);
      const { promise: enough, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, EARLY_MS);
      // Webhooks that never come, since there is nobody to send them to, must not keep the answer back for good.
      await Promise.race([wait, enough]).catch(() => {});
      clearTimeout(timer);
    },
  };
}

function eventsBefore(build: Readonly<Build>, seed: number, draw: number): BuildEvent[] {
  const fate = fateOf(seed, build);
  if (fate === 'never runs' || draw < 0.5) return ['build.scheduled'];
  if (draw < 0.85 || fate === 'is slow') return ['build.scheduled', 'build.running'];
  return ['build.scheduled', 'build.running', 'build.finished'];
}
