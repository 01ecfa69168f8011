import { rankOf, type Status, statuses } from './status.ts';

/** What somebody says about one build at one time: the CI, or we ourselves. */
export interface Word {
  epoch: number;
  status: Status;
  /** The CI's word counts more than our own `timeout` or `cancelled`. */
  by: 'self' | 'ci';
  /** When the CI finished, in ms; 0 while it has not. */
  at: number;
  error?: string;
  exitCode?: number;
  /** The finish time of the end that this epoch opened again: what ended no later than that is old. */
  after?: number;
}

/** A word about an attempt of a job. */
export interface Fact extends Word {
  attempt: number;
}

/** What a CI answers when it is asked for a build, or tells by webhook. */
export interface Observation {
  /** The provider's id of the build. */
  build: string;
  status: Status;
  /** The CI's finish time in ms, 0 while there is none. */
  at: number;
  error?: string;
  exitCode?: number;
  /** The notice does not carry all that decides the status (a failure that may be a time-out): read the build first. */
  unsure?: boolean;
  /** What the notice was about, if it was one step of the build. */
  step?: { name: string; state: 'running' | 'ended' };
}

/**
 * A total order: epoch, rank, the CI over ourselves, finish time, and then anything that makes ties fall the same way
 * everywhere. The greatest word wins, so words fold in any order, any number of times, to the same end.
 */
export function compareWords(a: Word, b: Word): number {
  return (
    a.epoch - b.epoch ||
    rankOf(a.status) - rankOf(b.status) ||
    by(a) - by(b) ||
    a.at - b.at ||
    statuses.indexOf(a.status) - statuses.indexOf(b.status) ||
    compareText(a.error, b.error) ||
    (a.exitCode ?? -1) - (b.exitCode ?? -1)
  );
}

export const compareFacts = (a: Fact, b: Fact): number => a.attempt - b.attempt || compareWords(a, b);

const by = (word: Word): number => (word.by === 'ci' ? 1 : 0);

function compareText(a = '', b = ''): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
