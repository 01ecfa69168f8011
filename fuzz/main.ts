/*
 * Throws changed copies of what is real at everything that reads what others wrote: first at the parsers, in a thread of
 * their own that a watchdog can end, then at the doors of a spindle that runs in a process of its own on a real
 * PostgreSQL. Whatever throws, hangs, grows, answers 5xx or cannot take what is right any more is a finding.
 */
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { again } from './again.ts';
import { allTargets, fuzz } from './run.ts';
import { progress, tableOf } from './table.ts';

const whole = (text: string): number => {
  if (!/^\d{1,10}$/.test(text) || Number(text) === 0)
    throw new InvalidArgumentError('It must be a whole number above 0.');
  return Number(text);
};

function targetsOf(text: string): string[] {
  const names = text.split(',').map((name) => name.trim());
  const unknown = names.find((name) => allTargets.every((each) => each.name !== name));
  if (unknown === undefined) return names;
  throw new InvalidArgumentError(
    `There is no target ${unknown}. There are: ${allTargets.map(({ name }) => name).join(', ')}.`,
  );
}

const about = allTargets.map((each) => `  ${each.name.padEnd(17)} ${each.about}`).join('\n');
const options = new Command('fuzz')
  .description('Feed every parser and every door of a spindle with hostile inputs, made of real ones.')
  .option(
    '--runs <n>',
    'inputs in all, shared among the targets; of those, one in fifty is for a live one',
    whole,
    100_000,
  )
  .option('--seed <n>', 'the same seed gives the same inputs; default: from the clock, and printed', whole)
  .option('--target <names>', 'these targets only, with commas between', targetsOf)
  .option('--minutes <n>', 'stop after so long', Number)
  .option('--input <file>', 'give one stored input again to the one target that --target names')
  .option('--out <folder>', 'where findings are kept; default: a folder of the system for temporary files')
  .option('--json', 'print the figures as JSON in the last line')
  .addHelpText('after', `\nTargets:\n${about}`)
  .parse()
  .opts<{
    runs: number;
    seed?: number;
    target?: string[];
    minutes?: number;
    input?: string;
    out?: string;
    json?: true;
  }>();

const say = (line: string): void => {
  bar.clear();
  console.log(line);
};
const bar = progress(process.stderr);
const seed = options.seed ?? (Date.now() % 1_000_000_000) + 1;

if (options.input !== undefined) {
  const [name, ...more] = options.target ?? [];
  if (name === undefined || more.length > 0) {
    say('--input needs one --target');
    process.exit(2);
  }
  const told = await again(name, await readFile(options.input));
  say(told ?? `${name} takes it`);
  process.exit(told === undefined ? 0 : 1);
}

const folder = options.out ?? path.join(tmpdir(), `whorl-fuzz-${seed}`);
const stop = new AbortController();
const limit = options.minutes === undefined ? undefined : AbortSignal.timeout(options.minutes * 60_000);
process.once('SIGINT', () => stop.abort());
process.once('SIGTERM', () => stop.abort());

say(`seed ${seed}, ${options.runs.toLocaleString('en')} runs, Node ${process.version}`);
const began = performance.now();
const { rows, findings, memory } = await fuzz({
  runs: options.runs,
  seed,
  ...(options.target === undefined ? {} : { targets: options.target }),
  folder,
  signal: limit === undefined ? stop.signal : AbortSignal.any([stop.signal, limit]),
  say,
  onProgress(done, target) {
    const perSecond = Math.round((done * 1000) / (performance.now() - began));
    bar.show(`${done.toLocaleString('en')} of ${options.runs.toLocaleString('en')} runs, ${perSecond}/s, ${target}`);
  },
});
for (const line of ['', ...tableOf(rows), '', ...memory.filter((each) => each !== '')]) say(line);
const seconds = Math.round((performance.now() - began) / 1000);
say(
  findings.length === 0
    ? `nothing found in ${seconds} s`
    : `${findings.length} found in ${seconds} s; inputs and words are in ${folder}. The same again: npm run fuzz -- --runs ${options.runs} --seed ${seed}`,
);
if (options.json) {
  const found = findings.map(({ target, what, signature }) => ({ target, signature, what: what.slice(0, 2_000) }));
  say(JSON.stringify({ seed, seconds, targets: rows, findings: found, ...(findings.length > 0 ? { folder } : {}) }));
}
process.exit(findings.length > 0 ? 1 : 0);
