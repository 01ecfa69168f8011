import { Command } from 'commander';
import { untilStopped } from './interrupt.ts';
import { readLog } from './log.ts';
import { follower, jobs, type Result } from './push.ts';
import { liveScreen, plainScreen, type Screen } from './screen.ts';
import { bold, faint, line, type Step, table } from './table.ts';
import { demoFolder, failing, startWorld, type Stops, type World } from './world.ts';

interface Options {
  once?: true;
  fail?: true;
  plain?: true;
}

/** The log of a job, one that failed if there is one: where it is read, and how many lines it has. */
interface Logged {
  log: { url: string; lines: number };
}

/** A pipeline of the demo takes three seconds. */
const limitMs = 60_000;
const stopWithinMs = 20_000;

const options = new Command('npm run demo --')
  .description(
    'A push on a knot becomes a pipeline, builds and statuses before your eyes. Nothing of it leaves this machine.',
  )
  .option('--once', 'end after one push: exit code 0 when it is green, else 1; the last line is JSON')
  .option('--fail', 'let lint.yml fail')
  .option('--plain', 'a line for each step, instead of a table that is written over in place')
  .parse()
  .opts<Options>();

const screen: Screen =
  process.stdout.isTTY && !options.plain ? liveScreen(process.stdout) : plainScreen(process.stdout);
const interrupt = untilStopped();
const stops: Stops = [];
const folder = await demoFolder();
const watch = follower();
let result: (Result & Logged) | undefined;
let trouble: string | undefined;

// An Enter while a push is under way only moves the cursor.
if (!options.once) process.stdin.on('data', (typed) => screen.moved(String(typed).split('\n').length - 1));
screen.say(bold('Whorl demo') + faint(`  Whorl's log: ${folder.logFile}`));
const starting = startWorld({
  dir: folder.dir,
  logFile: folder.logFile,
  watch,
  say: (text) => screen.say(text),
  stops,
  signal: interrupt.signal,
  reopenings: !options.once,
});
try {
  const world = await interrupt.or(starting);
  if (options.fail) world.ci.script(failing);
  do result = await interrupt.or(onePush(world));
  while (!options.once && (await interrupt.or(Promise.race([enter(), world.failed]))));
} catch (error) {
  if (!interrupt.signal.aborted) trouble = error instanceof Error ? error.message : String(error);
}
process.exit(await end());

/** Pushes, and shows what follows from it. */
async function onePush(world: World): Promise<Result & Logged> {
  let over = false;
  const told = (step: Step): void => {
    if (interrupt.signal.aborted) return;
    if (screen.live && !over) draw();
    else screen.say(line(step));
  };
  const run = await watch.push(world, told, limitMs);
  const title = `${bold(run.title)}  ${run.pipeline}`;
  const draw = (): void => screen.show([title, ...table(jobs, run.steps)]);
  screen.say('', ...(screen.live ? [] : [title]));
  const done = await run.done;
  draw();
  screen.settle();
  over = true;

  const job = jobs.find((name) => done.jobs[name] === 'failed') ?? jobs[0] ?? '';
  const log = await interrupt.or(readLog(world, run.rkey, job));
  const { step, lines } = log.end;
  screen.say(
    '',
    `${bold(`the log of ${job}`)}  ${log.lines} lines, the last of "${step}":`,
    ...lines.map((text) => `  ${text}`),
  );

  const links: (readonly [string, string])[] = [
    ['Temporal UI', `${world.ui}/namespaces/default/workflows/${encodeURIComponent(run.pipeline)}`],
    ['/events', `${world.url.replace('http', 'ws')}/events?cursor=1`],
    ['/logs', log.url],
    ['in a terminal', `WHORL_DATA_DIR=${folder.dir} npx node src/main.ts logs ${run.rkey}`],
    ...jobs.flatMap((job) => (run.builds[job] === undefined ? [] : [[`CI, ${job}`, run.builds[job]] as const])),
  ];
  screen.say(
    '',
    ...links.map(([name, url]) => `  ${name.padEnd(13)} ${url}`),
    ...[...world.appview.problems, ...log.problems].map((problem) => `  ! the appview complains: ${problem}`),
    ...(options.once ? [] : ['', faint('Enter pushes again, Ctrl-C stops everything.')]),
  );
  return { ...done, log: { url: log.url, lines: log.lines } };
}

/** Resolves when the person presses Enter, from now on; never where nobody can. */
function enter(): Promise<true> {
  return new Promise((resolve) => process.stdin.once('data', () => resolve(true)));
}

/** Stops everything, also what is just starting, and says how it went. */
async function end(): Promise<number> {
  screen.settle();
  screen.say('', faint('stopping …'));
  setTimeout(() => {
    screen.say(`not everything stopped within ${stopWithinMs / 1000} s; see ${folder.logFile}`);
    process.exit(1);
  }, stopWithinMs);
  await starting.catch(() => {});
  for (let stop = stops.pop(); stop; stop = stops.pop()) {
    await stop().catch((error: unknown) => {
      trouble ??= `Could not stop everything: ${error instanceof Error ? error.message : String(error)}`;
    });
  }
  const green = trouble === undefined && result?.status === 'success';
  const wrong = trouble !== undefined || (result !== undefined && !green && !options.fail);
  if (trouble !== undefined) screen.say(trouble);
  if (wrong) screen.say(`Whorl's log is kept: ${folder.logFile}`);
  else await folder.remove();
  if (!options.once) return trouble === undefined ? 0 : 1;
  const status = interrupt.signal.aborted ? 'interrupted' : 'failed';
  screen.say(JSON.stringify(result ?? { pipeline: null, status, jobs: {}, ms: 0, log: null }));
  return green ? 0 : 1;
}
