import type { Life, Target } from './life.ts';
import type { Build, Cause, JobPlan, Script, ScriptRule, Step } from './types.ts';

/** Plays the script of each build, by itself or when told to. */
export interface Clock {
  /** Pace of the steps in milliseconds, or `manual`: a step only by `next`. */
  readonly mode: 'auto' | 'manual';
  pace: number;
  /** Adds a rule, by default for new builds only: what follows a retry, an unblock or a cancel keeps its usual course. */
  addRule(rule: ScriptRule, causes?: readonly Cause[]): void;
  /** Gives a new build its jobs and its first state, and starts its script. */
  begin(build: Build, cause: 'create' | 'rebuild'): void;
  /** Starts what follows a retry, an unblock or a cancel; it replaces what was left of the script. */
  follow(build: Build, cause: 'retry' | 'unblock' | 'cancel'): void;
  /** Does the next step now. False when the script is over. */
  next(build: Build): boolean;
  /** Forgets the rest of a script, or only what comes up to and with the state that was just reached by hand. */
  forget(build: Build, reached?: Target): void;
  /** How many builds have steps that come by themselves. */
  readonly wound: number;
  stop(): void;
}

const DEFAULT_JOBS: readonly JobPlan[] = [{ name: ':hammer: Build', key: 'build', command: 'make' }];

const DEFAULTS: Record<Cause, readonly Step[]> = {
  create: ['scheduled', 'running', 'passed'],
  rebuild: ['scheduled', 'running', 'passed'],
  retry: ['running', 'passed'],
  unblock: ['running', 'passed'],
  cancel: ['canceled'],
};

/** Makes a clock over the life of builds. */
export function createClock(life: Life, mode: 'auto' | 'manual', pace: number): Clock {
  const rules: { rule: ScriptRule; causes: readonly Cause[] }[] = [];
  const left = new Map<string, Step[]>();
  const timers = new Map<string, NodeJS.Timeout>();

  const choose = (build: Build, cause: Cause): Script => {
    for (const { rule, causes } of rules.toReversed()) {
      const chosen = causes.includes(cause) ? rule(build, cause) : undefined;
      if (chosen) return 'steps' in chosen ? chosen : { steps: chosen };
    }
    return { steps: DEFAULTS[cause] };
  };

  const perform = (build: Build, step: Step): void => {
    if (typeof step === 'string') life.move(build, step);
    else if ('job' in step) life.moveJob(build, step.job, step.to);
    else life.move(build, step.to, step.jobs);
  };

  const wind = (build: Build): void => {
    clearTimeout(timers.get(build.id));
    timers.delete(build.id);
    const step = left.get(build.id)?.[0];
    if (step === undefined) left.delete(build.id);
    if (mode === 'manual' || step === undefined) return;
    const wait = (typeof step === 'object' ? step.after : undefined) ?? clock.pace;
    timers.set(
      build.id,
      setTimeout(() => clock.next(build), wait),
    );
  };

  const clock: Clock = {
    mode,
    pace,
    addRule(rule, causes = ['create', 'rebuild']) {
      rules.push({ rule, causes });
    },
    begin(build, cause) {
      const script = choose(build, cause);
      life.setJobs(build, script.jobs ?? DEFAULT_JOBS);
      const steps = [...script.steps];
      // A script that begins with `creating` shows that state in the answer; any other is scheduled in the answer.
      if (nameOf(steps[0]) === 'creating') steps.shift();
      else {
        if (nameOf(steps[0]) === 'scheduled') steps.shift();
        life.move(build, 'scheduled');
      }
      left.set(build.id, steps);
      wind(build);
    },
    follow(build, cause) {
      left.set(build.id, [...choose(build, cause).steps]);
      wind(build);
    },
    next(build) {
      const step = left.get(build.id)?.shift();
      if (step === undefined) return false;
      perform(build, step);
      wind(build);
      return true;
    },
    forget(build, reached) {
      const steps = left.get(build.id) ?? [];
      const at = reached === undefined ? -1 : steps.findIndex((step) => nameOf(step) === reached);
      left.set(build.id, reached === undefined ? [] : steps.slice(at + 1));
      wind(build);
    },
    get wound() {
      return timers.size;
    },
    stop() {
      for (const timer of timers.values()) clearTimeout(timer);
      timers.clear();
      left.clear();
    },
  };
  return clock;
}

const nameOf = (step: Step | undefined): string | undefined =>
  typeof step === 'object' ? ('job' in step ? undefined : step.to) : step;
