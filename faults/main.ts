/*
 * Tries to break Whorl's promise: nothing lost, nothing doubled, nothing stuck without a reason. Two processes of each role,
 * PostgreSQL, Temporal and the simulators run as processes of their own; while pushes come in, a seeded actor does what
 * docs/reliability.md lists. Then it stops, waits until all is quiet, and the checker compares what the outside world saw
 * with what Whorl holds. Exit code 0: every invariant was kept; 1: one was not; 2: it could not be run.
 */
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Command, InvalidArgumentError } from 'commander';
import { catalogue } from './catalogue/index.ts';
import { judge, summarise } from './check/index.ts';
import { collect, keepEvidence } from './collect/index.ts';
import { runPlan } from './chaos.ts';
import type { Action, World } from './contract.ts';
import type { Evidence, Verdict } from './evidence.ts';
import { describePlan, planOf } from './plan.ts';
import { pushesOf, times } from './pushes.ts';
import { describe, settle, unfinished } from './quiet.ts';
import { present, releaseAt } from './release.ts';
import { createScreen } from './screen.ts';
import { durationsOf, makeSecrets, scaleOf } from './settings.ts';
import { type Run, startRun } from './world.ts';

interface Options {
  seed: number;
  pipelines: number;
  minutes?: number;
  only?: string[];
  from?: string;
  calm?: true;
  rate: number;
  json?: true;
  keep?: true;
}

const count = (text: string): number => {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('It must be a whole number from 1 on.');
  return value;
};
const positive = (text: string): number => {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('It must be a number above 0.');
  return value;
};

const program = new Command('faults')
  .description('Try to break Whorl while pipelines run, and check that nothing was lost, doubled or stuck.')
  .option('--seed <number>', 'the same seed gives the same plan (default: a random one)', count)
  .option('--pipelines <number>', 'how many pushes', count, 100)
  .option('--minutes <number>', 'how long they take to come (default: by --rate)', positive)
  .option('--rate <number>', 'pushes a second', positive, 2.5)
  .option('--only <fault,…>', 'these faults alone', (text) => text.split(','))
  .option('--from <commit>', 'begin with the release of this commit; the fault `upgrade` goes between it and this one')
  .option('--calm', 'no fault at all')
  .option('--keep', 'keep the evidence of a good run too')
  .option('--json', 'print the summary as JSON on stdout')
  .addHelpText(
    'after',
    `
Faults:
${catalogue.map(({ name, about }) => `  ${name.padEnd(24)} ${about}`).join('\n')}

Examples:
  npm run faults -- --seed 1 --pipelines 300
  npm run faults -- --seed 7 --pipelines 50 --only kill,temporal-away
  npm run faults -- --pipelines 100 --only upgrade,kill --from HEAD~20
  npm run faults -- --pipelines 10000 --rate 4 --json > summary.json`,
  )
  .showHelpAfterError()
  .parse();
const options = program.opts<Options>();
const { pipelines, only, from, json = false, keep = false } = options;
const seed = options.seed ?? Math.floor(Math.random() * 1_000_000) + 1;

const screen = createScreen();
const seconds = (ms: number): string => `${(ms / 1000).toFixed(0)} s`;
const stopping = new AbortController();
let startedAt = Date.now();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stopping.abort());

const pushMs = options.minutes === undefined ? (pipelines / options.rate) * 1000 : options.minutes * 60_000;
const scale = scaleOf(pushMs);
const durations = durationsOf(pushMs);
const plan: Action[] = options.calm ? [] : makePlan();
// PostgreSQL may run as another user, which must be able to come here.
const dir = await mkdtemp(path.join(tmpdir(), `whorl-faults-seed-${seed}-`));
await chmod(dir, 0o755);

try {
  const kept = await main();
  process.exitCode = stopping.signal.aborted ? 2 : kept ? 0 : 1;
} catch (error) {
  screen.say(error instanceof Error ? (error.stack ?? error.message) : String(error));
  screen.say(`The run broke off; what there is, is in ${dir}`);
  process.exitCode = 2;
}
// Handles of what was killed on purpose may be left.
process.exit();

function makePlan(): Action[] | never {
  try {
    return planOf(seed, { durationMs: pushMs, scale, ...(only && { only }) });
  } catch (error) {
    return program.error(error instanceof Error ? error.message : String(error), { exitCode: 2 });
  }
}

async function main(): Promise<boolean> {
  screen.say(`seed ${seed}: ${pipelines} pushes in ${seconds(pushMs)}, ${plan.length} faults; logs in ${dir}`);
  screen.say(
    `scaled: ${Object.entries(durations)
      .map(([name, [ours, real]]) => `${name} ${ours} (${real})`)
      .join(', ')}`,
  );
  screen.say(
    `faults: frozen ${seconds(scale.freeze)}, Temporal away ${seconds(scale.temporalAway)} (for 10 min), ` +
      `webhooks late ${seconds(scale.webhookLate)} (for minutes), index lag ${seconds(scale.indexLag)}`,
  );
  await writeFile(path.join(dir, 'plan.txt'), describePlan(plan));
  const secrets = makeSecrets();
  const older = from === undefined ? undefined : await releaseAt(from);
  const releases: World['releases'] = older ? [present.root, older.root] : [present.root];
  const run = await startRun({ seed, dir, secrets, durations, releases, signal: stopping.signal, say: screen.say });
  try {
    const counts = await disturb(run);
    run.mend();
    const faultsEndedAt = Date.now();
    screen.say(`faults are over after ${seconds(faultsEndedAt - startedAt)}; waiting until all is quiet`);
    const { quiet, left } = await settle(
      run,
      Math.max(240_000, pushMs / 4),
      (now) => screen.progress(`  settling: ${describe(now)}`),
      stopping.signal,
    );
    const quietAt = quiet ? Date.now() : null;
    screen.say(quiet ? `quiet after ${seconds(Date.now() - faultsEndedAt)}` : `NOT quiet: ${describe(left)}`);

    const evidence = await collect({ run, seed, dir, secrets, faultsEndedAt, quietAt, say: screen.progress });
    const verdicts = judge(evidence);
    return await report(run, evidence, verdicts, counts);
  } finally {
    await run.stop();
    await older?.remove();
  }
}

/** Pushes and faults together; resolves when both are over. */
async function disturb(run: Run): Promise<Record<string, number>> {
  const orders = pushesOf(seed, pipelines);
  const arrivals = times(seed, pipelines, pushMs);
  startedAt = Date.now();
  let active: string[] = [];
  let done = 0;
  let made = 0;
  const shown = setInterval(() => {
    void unfinished(run)
      .catch(() => ({ 'what nobody can say: the database or Temporal is away': 1 }))
      .then((left) =>
        screen.progress(
          `  ${seconds(Date.now() - startedAt)}: ${run.pushes.length}/${pipelines} pushes, ` +
            `${done}/${plan.length} faults${active.length > 0 ? ` (${active.join(', ')})` : ''}; open: ${describe(left)}`,
        ),
      );
  }, 1_000);
  const pushing = async (): Promise<void> => {
    for (const [n, order] of orders.entries()) {
      const due = startedAt + (arrivals[n] ?? 0);
      if (due > Date.now()) await delay(due - Date.now(), undefined, { signal: stopping.signal });
      const { repo, branch, files } = order;
      await run.world.push(
        { repo, branch, files: files.map(({ name, raw }) => ({ name, raw })) },
        files.map(({ name, expect }) => ({ name, expect })),
      );
      made += 1;
    }
  };
  try {
    const [, counts] = await Promise.all([
      pushing(),
      runPlan(run.world, plan, catalogue, scale, ({ fault, phase, about }) => {
        if (phase === 'start') active.push(fault);
        else {
          active = active.toSpliced(active.indexOf(fault), 1);
          done += 1;
        }
        if (about) screen.progress(`  ${fault}: ${about}`);
      }),
    ]);
    return counts;
  } finally {
    clearInterval(shown);
  }
}

async function report(run: Run, evidence: Evidence, verdicts: Verdict[], counts: Record<string, number>) {
  const summary = summarise(evidence, verdicts, counts);
  const kept = verdicts.every((verdict) => verdict.kept);
  screen.say('');
  for (const verdict of verdicts) {
    screen.say(
      `${verdict.kept ? 'kept  ' : 'BROKEN'} ${verdict.invariant}. ${verdict.name} (${verdict.checked} checked)`,
    );
    for (const example of verdict.counterexamples) screen.say(`         ${example}`);
  }
  const acted = Object.entries(counts).map(([name, times]) => `${name} ${times}`);
  screen.say(`faults done: ${acted.join(', ') || 'none'}`);
  if (json) process.stdout.write(`${JSON.stringify(summary)}\n`);
  else screen.say(JSON.stringify(summary, undefined, 1));
  if (kept && !keep) {
    await rm(dir, { recursive: true, force: true }).catch(() => {});
    return kept;
  }
  await mkdir(path.join(dir, 'evidence'), { recursive: true });
  await keepEvidence(path.join(dir, 'evidence'), { run, evidence, verdicts, summary });
  screen.say(`evidence: ${dir}`);
  if (!kept) {
    const faults = `${only ? ` --only ${only.join(',')}` : ''}${from === undefined ? '' : ` --from ${from}`}`;
    const length = options.minutes === undefined ? ` --rate ${options.rate}` : ` --minutes ${options.minutes}`;
    screen.say(`again:    npm run faults -- --seed ${seed} --pipelines ${pipelines}${length}${faults}`);
  }
  return kept;
}
