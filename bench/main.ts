/*
 * What Whorl costs beside the least that it could cost. Everything is real but the knot and the CI: PostgreSQL and
 * Temporal keep what they are given, Whorl's roles are processes of their own, and so is who reads. Beside each figure
 * stands its floor, measured in turn with it on the same machine, so that the ratio can be trusted more than the time:
 *
 * latency  trigger → CreateBuild and webhook → frame; the floor is a Temporal worker that runs an empty workflow.
 * events   100,000 statuses of the outbox replayed to one reader; the floor is a `ws` server that has those frames ready.
 * readers  commit of a status → the last of 500 live readers; the floor is told the frame by NOTIFY, and sends it on.
 * logs     a log of 10 MB to 50 readers at once; the floor is that `ws` server again.
 */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { Command, Option } from 'commander';
import { startPostgres } from '../src/embedded/postgres.ts';
import { latency } from './latency.ts';
import { logs } from './logs.ts';
import type { Outcome, Place } from './place.ts';
import { live } from './readers.ts';
import { replay } from './replay.ts';

const parts = ['latency', 'events', 'readers', 'logs'] as const;
type Part = (typeof parts)[number];

const options = new Command('bench')
  .description('Measure Whorl next to what it runs on: each figure beside its floor, in turn, with the same load.')
  .addOption(new Option('--only <part>', 'measure this part alone').choices(parts))
  .option('--quick', 'fewer and shorter rounds: each part within a minute')
  .option('--rounds <n>', 'rounds of latency; the median of each figure is printed (default: 5, quick: 1)', Number)
  .option('--seconds <n>', 'length of such a round (default: 30, quick: 15)', Number)
  .option('--rate <n>', 'pipelines a second', Number, 2)
  .option('--jobs <n>', 'jobs of a pipeline', Number, 3)
  .option('--json', 'print the figures as JSON in the last line')
  .parse()
  .opts<{
    only?: Part;
    quick?: true;
    rounds?: number;
    seconds?: number;
    rate: number;
    jobs: number;
    json?: true;
  }>();
const { only, quick = false, rounds = quick ? 1 : 5, seconds = quick ? 15 : 30, rate, jobs } = options;

const say = (line: string): void => console.log(line);
const measure: Record<Part, (place: Place) => Promise<Outcome>> = {
  latency: (place) => latency(place, { rounds, seconds, rate, jobs }),
  events: replay,
  readers: live,
  logs,
};

const dir = await mkdtemp(path.join(tmpdir(), 'whorl-bench-'));
// The database server may run as a user of its own.
await chmod(dir, 0o755);
// Durable, as in production: every commit waits for the disk.
const postgres = await startPostgres({ dir: path.join(dir, 'postgres'), log: say });
say(`${cpus().length} cores, Node ${process.version}`);
const outcomes: Outcome[] = [];
for (const part of only === undefined ? parts : [only]) {
  outcomes.push(await measure[part]({ postgresUrl: postgres.url, dir, quick, say }));
}
await postgres.stop();
await rm(dir, { recursive: true, force: true });

for (const line of ['', ...outcomes.flatMap(({ table }) => table)]) say(line);
if (options.json) say(JSON.stringify(Object.assign({}, ...outcomes.map(({ figures }) => figures))));
process.exit(0);
