import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { adoption, statements } from '../../faults/catalogue/statements.ts';
import { statementOf } from '../../faults/links/statement.ts';

const store = path.join(import.meta.dirname, '../../src/store');

/** Where the template that begins at a backtick ends, and its text with `$1` for whatever stands in it. */
function template(source: string, backtick: number): { text: string; end: number } {
  let text = '';
  let at = backtick + 1;
  while (source[at] !== '`') {
    if (at >= source.length) throw new Error('a template without an end');
    if (source.startsWith('${', at)) {
      at = expressionEnd(source, at + 2);
      text += '$1';
    } else {
      text += source[at];
      at += source[at] === '\\' ? 2 : 1;
    }
  }
  return { text, end: at + 1 };
}

/** Where the expression that begins here ends: after its closing brace. */
function expressionEnd(source: string, from: number): number {
  let at = from;
  for (let open = 1; open > 0;) {
    if (source[at] === '`') at = template(source, at).end;
    else {
      if (source[at] === '{') open += 1;
      if (source[at] === '}') open -= 1;
      at += 1;
    }
  }
  return at;
}

/** The statements that a file of TypeScript holds, as postgres.js sends them. */
function statementsOf(source: string): string[] {
  const found: string[] = [];
  for (const match of source.matchAll(/\b(?:sql|tx)(?:<[^`]*?>)?`/g)) {
    found.push(template(source, match.index + match[0].length - 1).text);
  }
  return found;
}

/** These do the same as others, after a restore, which is no part of the world. */
const ofRestore = ['restore.ts', 'traced.ts'];

const all = readdirSync(store)
  .filter((name) => name.endsWith('.ts') && !ofRestore.includes(name))
  .flatMap((name) => statementsOf(readFileSync(path.join(store, name), 'utf8')).map((text) => ({ name, text })));

test('the statements of the store can be read out of its files', () => {
  expect(all.length).toBeGreaterThan(80);
  expect(all.filter(({ text }) => text.includes('insert into triggers'))).toHaveLength(1);
});

test.each([...statements, ...adoption].map((moment) => ({ ...moment, moment: moment.name })))(
  'the point at “$moment” is one statement of the store, and one that changes rows',
  ({ match }) => {
    const found = all.filter(({ text }) => match.test(text));
    expect(found.map(({ name }) => name)).toHaveLength(1);
    expect(statementOf(found[0]?.text ?? '').writes).toBe(true);
  },
);

test('every table that a pipeline goes through has a point', () => {
  const tables = ['triggers', 'deliveries', 'pipelines', 'jobs', 'attempts', 'builds', 'statuses', 'commands'];
  const others = ['reopenings', 'leases', 'logs', 'log_steps', 'log_chunks', 'cursors', 'clock'];
  const hit = all.filter(({ text }) => statements.some(({ match }) => match.test(text))).map(({ text }) => text);
  for (const table of [...tables, ...others]) {
    expect(
      hit.some((text) => new RegExp(`(?:insert into|update) ${table}\\b`).test(text)),
      table,
    ).toBe(true);
  }
});
