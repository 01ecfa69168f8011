/*
 * What Whorl costs beside the least that it could cost. Everything is real but the knot and the CI: PostgreSQL and
 * Temporal keep what they are given, Whorl's roles are processes of their own, and so is who reads. Beside each figure
 * stands its floor, measured in turn with it on the same machine, so that the ratio can be trusted more than the time.
 * What each part measures, and how, is in docs/performance.md.
 */
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir, totalmem } from 'node:os';
import path from 'node:path';
import { Command, Option } from 'commander';
import { startPostgres } from '../src/embedded/postgres.ts';
import { cost } from './cost.ts';
import { idle } from './idle.ts';
import { latency } from './latency.ts';
import { logs } from './logs.ts';
import { open } from './open.ts';
import type { Outcome, Place } from './place.ts';
import { live } from './readers.ts';
import { replay } from './replay.ts';
import { sustained } from './sustained.ts';
import { asMarkdown, asText } from './table.ts';
import { webhooks } from './webhooks.ts';

/** `memory` is a part of `open` too, so it is measured alone only when it is asked for. */
const whole = ['latency', 'sustained', 'webhooks', 'events', 'readers', 'logs', 'cost', 'open', 'idle'] as const;
const parts = [...whole, 'memory'] as const;
type Part = (typeof parts)[number];

const options = new Command('bench')
  .description('Measure Whorl next to what it runs on: each figure beside its floor, in turn, with the same load.')
  .addOption(new Option('--only <part...>', 'measure these parts alone').choices(parts))
  .option('--quick', 'fewer and shorter rounds, and fewer open pipelines')
  .option('--rounds <n>', 'rounds of latency; the median of each figure is printed (default: 3, quick: 1)', Number)
  .option('--seconds <n>', 'length of such a round (default: 20, quick: 15)', Number)
  .option('--rate <n>', 'pipelines a second', Number, 2)
  .option('--jobs <n>', 'jobs of a pipeline', Number, 3)
  .option('--profile <dir>', 'the roles leave their CPU profiles here')
  .option('--markdown', 'print the table as in docs/performance.md')
  .option('--json', 'print the figures as JSON in the last line')
  .parse()
  .opts<{
    only?: Part[];
    quick?: true;
    rounds?: number;
    seconds?: number;
    rate: number;
    jobs: number;
    profile?: string;
    markdown?: true;
    json?: true;
  }>();
const { only, quick = false, rounds = quick ? 1 : 3, seconds = quick ? 15 : 20, rate, jobs } = options;

const say = (line: string): void => console.log(line);
const measure: Record<Part, (place: Place) => Promise<Outcome>> = {
  latency: (place) => latency(place, { rounds, seconds, rate, jobs }),
  sustained,
  webhooks,
  events: replay,
  readers: live,
  logs,
  cost,
  open: (place) => open(place),
  memory: (place) => open(place, 'memory'),
  idle,
};

const dir = await mkdtemp(path.join(tmpdir(), 'whorl-bench-'));
// The database server may run as a user of its own.
await chmod(dir, 0o755);
// Durable, as in production: every commit waits for the disk.
const postgres = await startPostgres({ dir: path.join(dir, 'postgres'), log: say });
const machine = `${cpus().length} cores (${cpus()[0]?.model.trim()}), ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`;
say(machine);
const outcomes: Outcome[] = [];
for (const part of only ?? whole) {
  const began = performance.now();
  const profileDir = options.profile === undefined ? undefined : path.resolve(options.profile, part);
  if (profileDir !== undefined) await mkdir(profileDir, { recursive: true });
  outcomes.push(await measure[part]({ postgresUrl: postgres.url, dir, quick, profileDir, say }));
  say(`${part} took ${Math.round((performance.now() - began) / 1000)} s`);
}
await postgres.stop();
await rm(dir, { recursive: true, force: true });

const lines = outcomes.flatMap((outcome) => outcome.lines);
for (const line of ['', ...(options.markdown ? asMarkdown(lines) : asText(lines))]) say(line);
if (options.json)
  say(JSON.stringify({ machine, ...Object.assign({}, ...outcomes.map(({ figures }) => figures)), lines }));
process.exit(0);
