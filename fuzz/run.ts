import { startPostgres } from '../src/embedded/postgres.ts';
import { describeFinding, type Finding, saveFinding } from './finding.ts';
import { heapWatch } from './heap.ts';
import { shareOut } from './jobs.ts';
import { liveTargets } from './live/index.ts';
import { runLivePart } from './live/run.ts';
import { startSpindle } from './live/spindle.ts';
import type { Row } from './table.ts';
import { pureTargets } from './targets/index.ts';
import { runJobs } from './thread.ts';

export interface RunOptions {
  runs: number;
  seed: number;
  /** Names of targets; default all. */
  targets?: readonly string[];
  /** Where findings are kept. */
  folder: string;
  signal: AbortSignal;
  say(line: string): void;
  onProgress(done: number, target: string): void;
}

export const allTargets: readonly { name: string; about: string; weight: number }[] = [...pureTargets, ...liveTargets];

/** A live run is hundreds of times as slow as a pure one: of all runs, live targets get this part at most. */
const liveShare = 0.02;

/** Runs the targets with so many inputs in all. */
export async function fuzz(options: RunOptions): Promise<{ rows: Row[]; findings: Finding[]; memory: string[] }> {
  const chosen = (name: string): boolean => options.targets?.includes(name) ?? true;
  const pure = pureTargets.filter(({ name }) => chosen(name));
  const live = liveTargets.filter(({ name }) => chosen(name));
  const liveRuns = pure.length === 0 ? options.runs : live.length === 0 ? 0 : Math.ceil(options.runs * liveShare);

  const tallies = new Map([...pure, ...live].map(({ name }) => [name, { runs: 0, ms: 0, findings: 0 }]));
  const findings: Finding[] = [];
  const memory: string[] = [];
  let done = 0;
  const onFinding = async (finding: Finding): Promise<void> => {
    findings.push(finding);
    const tally = tallies.get(finding.target);
    if (tally) tally.findings += 1;
    const n = findings.length;
    const file = await saveFinding(options.folder, finding, n);
    options.say(describeFinding(finding, file));
  };
  const count = (target: string, runs: number, ms: number): void => {
    const tally = tallies.get(target);
    if (tally) Object.assign(tally, { ...tally, runs: tally.runs + runs, ms: tally.ms + ms });
    done += runs;
    options.onProgress(done, target);
  };
  const grown = (target: string, what: string | undefined): Promise<void> | undefined =>
    what === undefined
      ? undefined
      : onFinding({ target, seed: options.seed, what, signature: 'memory', input: Buffer.alloc(0) });

  if (pure.length > 0) await runPure();
  if (liveRuns > 0 && !options.signal.aborted) await runLive();
  const rows = [...tallies].map(([target, { runs, ms, findings: found }]) => ({
    target,
    runs,
    rate: ms > 0 ? (runs * 1000) / ms : 0,
    findings: found,
  }));
  return { rows, findings, memory };

  async function runPure(): Promise<void> {
    const heap = heapWatch('the thread of the pure targets');
    let before = performance.now();
    const pending: Promise<void>[] = [];
    await runJobs({
      jobs: shareOut(pure, options.runs - liveRuns, options.seed),
      signal: options.signal,
      onFinding: (finding) => void pending.push(onFinding(finding)),
      onDone(job, runs, held) {
        count(job.target, runs, performance.now() - before);
        before = performance.now();
        const grew = held === undefined ? undefined : grown(job.target, heap.told(held));
        if (grew) pending.push(grew);
      },
    });
    await Promise.all(pending);
    memory.push(heap.summary());
  }

  async function runLive(): Promise<void> {
    options.say('starting PostgreSQL and a spindle for the live targets');
    const postgres = await startPostgres();
    try {
      const spindle = await startSpindle(postgres.url);
      const heap = heapWatch('the heap of the spindle');
      const rss = heapWatch('the memory of the spindle', 256);
      const known = new Set<string>();
      try {
        for (const { target: name, part, runs } of shareOut(live, liveRuns, options.seed, 2_000)) {
          const target = live.find((each) => each.name === name);
          if (!target || options.signal.aborted) continue;
          let before = performance.now();
          await runLivePart({
            spindle,
            target,
            seed: options.seed,
            part,
            runs,
            known,
            onFinding,
            signal: options.signal,
            onRuns(some) {
              count(name, some, performance.now() - before);
              before = performance.now();
            },
          });
          const held = await spindle.memory();
          await grown(name, heap.told(held.heap) ?? rss.told(held.rss));
        }
      } finally {
        memory.push(heap.summary(), rss.summary());
        await spindle.close();
      }
    } finally {
      await postgres.stop();
    }
  }
}
