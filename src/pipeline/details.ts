import { cutBytes, inMarkdown } from './inert.ts';
import { timesOf, type Wait } from './wait.ts';

/** A job as a row of the table. */
export interface DetailsRow {
  job: string;
  attempt: number;
  status: string;
  build: string | null;
  why: string;
}

/** Bytes of the whole; a pipeline of very many jobs is cut, and says so. */
const most = 16 * 1024;
const rowsMost = 10 * 1024;

/** A row must hold the whole of a refusal. */
const cellBytes = 600;

const bytes = new TextEncoder();

/**
 * Current details of a pipeline in the Temporal UI, as Markdown: what its jobs wait for, since when, until when, and what to
 * do; then a table of them. Nothing that strangers wrote acts in it.
 */
export function details(id: string, rows: readonly DetailsRow[], waits: readonly Wait[]): string {
  const lines = fitting(rows.map(row), rowsMost, (left) => `| … and ${left} more | | | | |`);
  const table = ['| job | attempt | status | build | why |', '|---|---|---|---|---|', ...lines];
  const sorted = waits.toSorted((a, b) => Number(b.person) - Number(a.person));
  const left = most - size(table) - 200;
  const items = fitting(sorted.map(item), left, (more) => `- … and ${more} more`);
  const all = ['', `All of it: ${code(`whorl why ${id}`)}`, ''];
  return [...(waits.length > 0 ? [...items, ...all] : []), ...table].join('\n');
}

const size = (lines: readonly string[]): number => bytes.encode(lines.join('\n')).length;

function fitting(lines: readonly string[], limit: number, rest: (left: number) => string): string[] {
  let used = 0;
  const fit = lines.findIndex((line) => (used += bytes.encode(line).length + 1) > limit);
  return fit < 0 ? [...lines] : [...lines.slice(0, fit), rest(lines.length - fit)];
}

const row = ({ job, attempt, status, build, why }: DetailsRow): string =>
  `| ${[job, String(attempt), status, build === null ? '—' : short(build), why].map((text) => inMarkdown(text, cellBytes)).join(' | ')} |`;

function item(wait: Wait): string {
  const who = wait.job === null ? 'It' : `**${inMarkdown(wait.job, 100)}**`;
  const needs = wait.person ? '**Needs a person.** ' : '';
  const times = timesOf(wait, (at) => new Date(at).toISOString().replace(/\.\d+Z$/, 'Z'));
  const when = times.length === 0 ? '' : `: ${times.map((text) => inMarkdown(text)).join('; ')}`;
  const todos = wait.todo.map(({ text, command }) =>
    command === undefined ? inMarkdown(text) : `${inMarkdown(text)}: ${code(command)}`,
  );
  return `- ${needs}${who} waits for ${inMarkdown(short(wait.what), cellBytes)}${when}.${todos.map((text) => ` ${text}`).join('')}`;
}

/** Ids of builds by their beginnings, as in the CI's own pages; `whorl why` has them whole. */
const short = (text: string): string =>
  text.replaceAll(/\b([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g, '$1');

/** A command as it is to be typed. One that would not stay within its marks is left as inert words. */
const code = (text: string): string =>
  /^[\w./:@%+=~' -]{1,1000}$/.test(text) && !/:\/\/|www\./i.test(text)
    ? `\`${text}\``
    : inMarkdown(cutBytes(text, 1_000), 1_000);
