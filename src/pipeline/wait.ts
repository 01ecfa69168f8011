/** Why something waits, in one stable word. */
export type Cause =
  /** Before there is a workflow. */
  | 'held'
  | 'not-dispatched'
  | 'dispatch-failing'
  | 'quarantined'
  | 'unknown'
  | 'foreign'
  /** Something that everything else needs is away or broken. */
  | 'temporal-away'
  | 'no-worker'
  | 'workflow-failing'
  | 'workflow-ended'
  /** One step of one job. */
  | 'parked'
  | 'paused'
  | 'rate-limited'
  | 'answer-lost'
  | 'failing'
  | 'create'
  | 'cancelling'
  | 'starting'
  | 'running'
  | 'unexplained'
  | 'publishing'
  | 'withheld'
  | 'command'
  | 'delivery'
  /** What remains after the end. */
  | 'reopened'
  | 'owed-read'
  | 'resend'
  | 'doubt'
  | 'log';

/** A time, ms since 1970, and what happens then. */
export interface Due {
  at: number;
  what: string;
}

export interface Todo {
  text: string;
  /** To be copied into a shell as it is. */
  command?: string;
}

/** One thing that a pipeline waits for now. Plain data: the workflow answers with it. */
export interface Wait {
  /** Null: the whole pipeline. */
  job: string | null;
  cause: Cause;
  /** Goes on after “waits for”; what strangers wrote is in it as it is. */
  what: string;
  /** ms since 1970; null when nobody knows. */
  since: number | null;
  /** What comes by itself. */
  next: Due | null;
  /** Until when at most. */
  limit: Due | null;
  /** What makes it go on, or go on sooner. */
  todo: Todo[];
  /** It does not go on without somebody. */
  person: boolean;
}

/** A wait of which nothing else is known than what is given. */
export const wait = (cause: Cause, what: string, more: Partial<Wait> = {}): Wait => ({
  job: null,
  cause,
  what,
  since: null,
  next: null,
  limit: null,
  todo: [],
  person: false,
  ...more,
});

/** A command line that does the same in every shell; undefined when a word cannot be written so. */
export function commandLine(...words: string[]): string | undefined {
  const written = words.map(shellWord);
  return written.includes(undefined) ? undefined : written.join(' ');
}

function shellWord(word: string): string | undefined {
  if (/^[\w./:@%+=][\w./:@%+=~-]*$|^--[a-z-]+$/.test(word)) return word;
  return /^[\x20-\x7e\u00a1-\u00ac\u00ae-\u02ff]+$/.test(word) ? `'${word.replaceAll("'", `'\\''`)}'` : undefined;
}

/** Something to do, with its command when there is one that can be written. */
export const todo = (text: string, ...words: string[]): Todo => {
  const command = commandLine(...words);
  return words.length === 0 || command === undefined ? { text } : { text, command };
};

/** What a person reads in one piece: waits for …, since, next, limit. */
export function timesOf({ since, next, limit }: Wait, time: (at: number) => string): string[] {
  return [
    ...(since === null ? [] : [`since ${time(since)}`]),
    ...(next === null ? [] : [`at ${time(next.at)} ${next.what}`]),
    ...(limit === null ? [] : [`until ${time(limit.at)}, then ${limit.what}`]),
  ];
}
