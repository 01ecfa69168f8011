import { logOf } from './log.ts';
import type { Build, Job } from './types.ts';
import type { World } from './world.ts';

/** Writes the logs of jobs, as an agent under a pseudo-terminal does. */
export interface Agent {
  started(build: Build, job: Job): void;
  ended(build: Build, job: Job): void;
}

/** Writes nothing: somebody else writes the logs. */
export const silentAgent: Agent = { started() {}, ended() {} };

const GREY = '\x1b[90m';
const GREEN = '\x1b[32m';
const YELLOW = '\x1b[33m';
const RED = '\x1b[31m';
const BOLD = '\x1b[1m';
const OFF = '\x1b[0m';

const prompt = (command: string): string => `${GREY}$${OFF} ${command}`;
const passed = (name: string, ms: number): string => `  ${GREEN}✓${OFF} ${name} ${GREY}(${ms} ms)${OFF}`;

/** Progress that is written over itself, with the time again where a second has passed. */
const progress = (at: number): string =>
  [10, 45, 80]
    .map((part) => `\x1b[K\x1b_bk;t=${at}\x07Receiving objects: ${String(part).padStart(3)}% (${part}/100)\r`)
    .join('') + '\x1b[KReceiving objects: 100% (100/100), 38.20 KiB | 3.82 MiB/s, done.';

/** What the command of a job writes, in the order in which it does. */
const output = (job: Job): string[] => [
  '--- :package: Installing',
  'added 214 packages in 3s',
  `${YELLOW}warning${OFF} left-pad@1.3.0: use String.prototype.padStart()`,
  `--- ${job.name}`,
  'cc -O2 -c src/main.c -o build/main.o',
  'cc -O2 -c src/whorl.c -o build/whorl.o',
  'ld build/main.o build/whorl.o -o build/app',
  `${BOLD}build/app${OFF} 412 kB`,
  '+++ :test_tube: Testing',
  passed('a push makes a pipeline', 12),
  passed('a pipeline has one build for each job', 31),
  passed('umlauts stay whole: äöüß, 纺锤, 🧵', 2),
  passed('a log has colours, groups and progress', 8),
  '',
  `${GREEN}${BOLD}4 passed${OFF}, 0 failed`,
];

/**
 * Makes an agent. `spread` gives the time over which a command writes its output, in ms; null: it writes none, since a
 * test says what it wants.
 */
export function createAgent(world: World, spread: () => number | null): Agent {
  const agent: Agent = {
    started(build, job) {
      const log = logOf(job);
      const now = world.now();
      const repository = world.pipelines.get(`${build.org}/${build.pipeline}`)?.repository ?? 'a repository';
      log.line(now, '~~~ Preparing working directory');
      log.line(now, prompt(`cd /var/lib/buildkite-agent/builds/agent-1/${build.org}/${build.pipeline}`));
      log.line(now, prompt(`git clone -v -- ${repository} .`));
      log.line(now, "Cloning into '.'...", true);
      log.line(now, progress(now), true);
      log.line(now, prompt(`git checkout -f ${build.commit}`));
      log.line(now, `HEAD is now at ${build.commit.slice(0, 7)} ${(build.message ?? '').split('\n')[0]}`, true);
      log.line(now, '~~~ Running commands');
      log.line(now, prompt(job.command));
      const time = spread();
      if (time === null) return;
      const lines = output(job);
      for (const [n, text] of lines.entries()) log.later(now + Math.floor(((n + 1) * time) / (lines.length + 1)), text);
    },
    ended(build, job) {
      if (job.startedAt === null) return;
      const log = logOf(job);
      const now = world.now();
      if (log.bytes(now).length === 0) agent.started(build, job);
      log.flush(now);
      if (job.state !== 'failed') return;
      log.line(now, '^^^ +++');
      log.line(now, `${RED}🚨 Error: The command exited with status ${job.exitStatus}${OFF}`);
    },
  };
  return agent;
}
