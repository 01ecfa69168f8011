import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { commandLineDocs } from '../../scripts/cli-docs.ts';
import { whorlProgram } from '../../src/cli/program.ts';

const docs = commandLineDocs();

test('docs/cli.md is what the commands say (if not: node scripts/docs.ts)', () => {
  const written = readFileSync(new URL('../../docs/cli.md', import.meta.url), 'utf8');
  expect(written).toBe(docs);
});

const commands = (parent: Command, parentName: string): string[] =>
  parent.commands.flatMap((command) => {
    const own = `${parentName} ${command.name()}`;
    return [own, ...commands(command, own)];
  });

test.each(commands(whorlProgram(), 'whorl'))(
  '%s is described, with an example of itself, in lines that fit',
  (command) => {
    const text = docs.split(`\n## ${command}\n`)[1]?.split('\n## ')[0] ?? '';
    expect(text).toMatch(new RegExp(`\nExamples?:\n(?:  .*\n)*  (?:.*[ (])?${command}\\b`));
    const long = text.split('\n').filter((line) => line.length > 110);
    expect(long).toEqual([]);
  },
);

const root = path.join(import.meta.dirname, '../..');
const texts = ['README.md', 'deploy', 'docs'].flatMap((name) =>
  name.endsWith('.md')
    ? [name]
    : readdirSync(path.join(root, name))
        .filter((file) => /\.(?:md|yml|service)$/.test(file))
        .map((file) => `${name}/${file}`),
);

test.each(texts)('every command that %s names is one', (file) => {
  const known = new Set(whorlProgram().commands.map((command) => command.name()));
  const text = readFileSync(path.join(root, file), 'utf8');
  const named = [...text.matchAll(/(?:`|^\$? ?)whorl ([a-z][a-z-]*)/gm)].map(([, name = '']) => name);
  expect(named.filter((name) => name !== 'help' && !known.has(name))).toEqual([]);
});
