import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { commandLineDocs } from '../../scripts/cli-docs.ts';
import { whorlProgram } from '../../src/cli/program.ts';

const docs = commandLineDocs();

test('docs/cli.md is what the commands say (if not: node scripts/docs.ts)', () => {
  const written = readFileSync(new URL('../../docs/cli.md', import.meta.url), 'utf8');
  expect(written).toBe(docs);
});

const commands = (parent: Command, path: string): string[] =>
  parent.commands.flatMap((command) => {
    const own = `${path} ${command.name()}`;
    return [own, ...commands(command, own)];
  });

test.each(commands(whorlProgram(), 'whorl'))(
  '%s is described, with an example of itself, in lines that fit',
  (path) => {
    const text = docs.split(`\n## ${path}\n`)[1]?.split('\n## ')[0] ?? '';
    expect(text).toMatch(new RegExp(`\nExamples?:\n(?:  .*\n)*  (?:.*[ (])?${path}\\b`));
    const long = text.split('\n').filter((line) => line.length > 110);
    expect(long).toEqual([]);
  },
);
