import { isEnd } from './status.ts';
import type { Cause, Wait } from './wait.ts';
import type { JobFact, WhyFacts } from './why-facts.ts';
import { type Step, stepsOf } from './why-steps.ts';
import { allWaits, jobsHaveEnded } from './why-waits.ts';

/**
 * `ended`: nothing more is to come. `going on`: it goes on by itself. `needs a person`: it does not.
 */
export type Standing = 'ended' | 'going on' | 'needs a person';

export interface Why {
  id: string;
  standing: Standing;
  /** Why it stands there, in one stable word. */
  cause: Cause | Fate;
  /** The same in a sentence. */
  sentence: string;
  steps: Step[];
  waits: Wait[];
}

/** How it ended, when it did. */
export type Fate =
  | 'refused'
  | 'before-choice'
  | 'nothing-to-run'
  | 'author'
  | 'superseded'
  | 'cancelled'
  | 'red'
  | 'green'
  | 'unknown'
  | 'foreign';

/** The answer to “why”: what happened, what it waits for, and what would make it go on. */
export function explain(facts: WhyFacts): Why {
  const steps = stepsOf(facts);
  const waits = allWaits(facts);
  const { standing, cause, sentence } = verdict(facts, waits);
  return { id: facts.id, standing, cause, sentence, steps, waits };
}

function verdict(facts: WhyFacts, waits: Wait[]): Pick<Why, 'standing' | 'cause' | 'sentence'> {
  const [main] = waits;
  const needs = main?.person ?? false;
  const end = endOf(facts);
  if (end && waits.every(({ cause }) => afterwards.includes(cause))) return { standing: 'ended', ...end };
  if (!main) return { standing: 'going on', cause: 'unknown', sentence: 'It is being started.' };
  const who = main.job ?? 'It';
  const sentence = `${who} waits for ${unstopped(main.what)}.`;
  return { standing: needs ? 'needs a person' : 'going on', cause: main.cause, sentence };
}

/** What does not change how it ended. */
const afterwards: readonly string[] = ['resend', 'doubt', 'log'];

/** Without full stops and space at its end. A regular expression would look from each of them. */
function unstopped(text: string): string {
  let end = text.length;
  while (end > 0 && /[.\s]/.test(text.charAt(end - 1))) end--;
  return text.slice(0, end);
}

function endOf({ books }: WhyFacts): { cause: Fate; sentence: string } | undefined {
  const { trigger, pipeline, jobs } = books;
  if (!trigger && !pipeline) return nothing(books.deliveries.length > 0);
  const reason = trigger?.reason ?? '';
  if (trigger?.state === 'early') return { cause: 'before-choice', sentence: `It was never started: ${reason}` };
  if (trigger?.state === 'refused')
    return {
      cause: /before the choice/.test(reason) ? 'before-choice' : 'refused',
      sentence: `It was refused: ${reason}`,
    };
  if (trigger?.state === 'ended') return { cause: 'nothing-to-run', sentence: `It ended at once: ${reason}` };
  if (!jobsHaveEnded(books)) return undefined;
  return { cause: fateOf(jobs), sentence: `It has ended: ${jobs.map((job) => unstopped(told(job))).join('; ')}.` };
}

const nothing = (foreign: boolean): { cause: Fate; sentence: string } =>
  foreign
    ? {
        cause: 'foreign',
        sentence:
          'No event of that name ever came in. A build at the CI claims to be of it; whoever may create builds there can write that, so it counts for nothing.',
      }
    : { cause: 'unknown', sentence: 'Nothing is known of it: no event of that name has come in.' };

function fateOf(jobs: readonly JobFact[]): Fate {
  if (jobs.some(({ refusal }) => refusal !== null)) return 'author';
  const cancelled = jobs.filter(({ status }) => status === 'cancelled');
  if (cancelled.some(({ error }) => error?.startsWith('Superseded by '))) return 'superseded';
  if (cancelled.length > 0) return 'cancelled';
  return jobs.every(({ status }) => status === 'success') ? 'green' : 'red';
}

/** A job that has ended, and why as it did. */
function told({ name, status, error, note, exitCode, attempt }: JobFact): string {
  const reasons = [...new Set([error, note])].filter((text) => text !== null && text !== '');
  const code = exitCode !== null && exitCode !== 0 ? [`exit code ${exitCode}`] : [];
  const because = [...reasons, ...code].join('; ');
  const which = attempt > 1 ? ` (attempt ${attempt})` : '';
  return `${name}${which} ${status !== null && isEnd(status) ? status : 'is open'}${because === '' ? '' : `: ${because}`}`;
}
