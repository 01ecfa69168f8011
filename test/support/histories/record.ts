import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { startVitest } from 'vitest/node';
import { filesOf, isOfShape, release } from './files.ts';
import { shapes } from './shapes.ts';

const help = `Records histories of this release (${release}) under test/histories/${release}/, for every later one to replay.

  npm run record-histories                          what is missing
  npm run record-histories -- --again <shape> …     these once more, in the place of those that are there

What an earlier release recorded is never touched, nor what this one did once CHANGELOG.md names it.
Shapes: ${shapes.map(({ name }) => name).join(', ')}`;

/** Why nothing may be recorded, in a sentence. */
async function refusal(again: boolean, named: readonly string[]): Promise<string | undefined> {
  const unknown = named.filter((name) => !shapes.some((shape) => shape.name === name));
  if (unknown.length > 0) return `there is no shape ${unknown.join(', ')}; --help lists them`;
  if (named.length > 0 && !again) return 'what is missing is recorded without a name; with names, say --again';
  if (again && named.length === 0) return '--again needs the names of shapes';
  const changelog = await readFile(new URL('../../../CHANGELOG.md', import.meta.url), 'utf8');
  if (!changelog.includes(`\n## [${release}]`)) return undefined;
  return `${release} is released, so its histories stay as they are: raise the version in package.json and src/version.ts first`;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { again: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } },
  });
  if (values.help) return say(help, 0);
  const refused = await refusal(values.again, positionals);
  if (refused !== undefined) return say(`Nothing is recorded: ${refused}.`, 2);

  const there = await filesOf(release);
  const names = values.again
    ? positionals
    : shapes.map(({ name }) => name).filter((name) => !there.some((file) => isOfShape(name, file)));
  if (names.length === 0) return say(`Nothing is missing: ${release} has ${there.length} histories.`, 0);

  say(`Recording ${names.length} of ${shapes.length} shapes for ${release}: ${names.join(', ')}`, 0);
  const pattern = `the histories of a workflow replay: (?:${names.join('|')})$`;
  const env = { WHORL_RECORD_HISTORIES: names.join(' ') };
  const vitest = await startVitest('test', ['test/e2e/replay.test.ts'], { run: true, testNamePattern: pattern, env });
  await vitest.close();
  const now = await filesOf(release);
  const missing = names.filter((name) => !now.some((file) => isOfShape(name, file)));
  const files = now.filter((file) => names.some((name) => isOfShape(name, file)));
  for (const file of files) say(`test/histories/${release}/${file}`, 0);
  if (missing.length > 0) return say(`Not recorded, see above why: ${missing.join(', ')}.`, 1);
  return say(`Recorded ${files.length} histories. Look at them, and commit them.`, Number(process.exitCode ?? 0));
}

function say(text: string, code: number): number {
  console.log(text);
  return code;
}

process.exit(await main());
