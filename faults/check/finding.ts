import type { Verdict } from '../evidence.ts';
import type { Books } from './books.ts';

/** One counterexample. `kind` groups them for the numbers of a run. */
export interface Finding {
  kind: string;
  text: string;
}

/** What one look at the evidence brought. */
export interface Look {
  /** How many things were looked at. */
  checked: number;
  findings: Finding[];
}

/** One of the promises of docs/architecture.md, with the look that could refute it. */
export interface Invariant {
  readonly number: Verdict['invariant'];
  readonly name: string;
  look(books: Books): Look;
}

const mostTold = 20;

/** A promise is kept when something was looked at and nothing spoke against it; in a run without a push there is nothing to see. */
export function verdictOf({ number, name, look }: Invariant, books: Books): Verdict {
  const { checked, findings } = look(books);
  const blind = checked === 0 && books.evidence.pushes.length > 0;
  const found: Record<string, number> = {};
  for (const { kind } of findings) found[kind] = (found[kind] ?? 0) + 1;
  const texts = findings.slice(0, mostTold).map(({ text }) => text);
  if (findings.length > mostTold) texts.push(`… and ${findings.length - mostTold} more`);
  if (blind) texts.push('There were pushes, and yet nothing was looked at: the evidence is not whole.');
  return {
    invariant: number,
    name,
    kept: findings.length === 0 && !blind,
    checked,
    found,
    counterexamples: texts,
  };
}

/** A time for people, to the millisecond. */
export const at = (ms: number | null | undefined): string =>
  ms === null || ms === undefined ? 'never' : new Date(ms).toISOString().slice(11, 23);

/** What is left of a text wherever it was put: cells, Markdown and terminals each escape and space it in their own way. */
const essence = (text: string): string => text.replaceAll(/[^\p{L}\p{N}]+/gu, '');

/** Whether a place that may cut long texts says this. */
export function says(place: string, text: string): boolean {
  const wanted = essence(text).slice(0, 120);
  return wanted !== '' && essence(place).includes(wanted);
}

/** The findings of many looks, one after the other. */
export function* each<T>(things: Iterable<T>, look: (thing: T) => Iterable<Finding>): Generator<Finding> {
  for (const thing of things) yield* look(thing);
}
