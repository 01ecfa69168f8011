import { Command } from 'commander';
import { type PipelineId, parsePipelineId } from '../pipeline/ids.ts';
import { remarkEntries, remarkOf } from '../server/log-remark.ts';
import type { AttemptKey } from '../store/builds.ts';
import type { Sql } from '../store/db.ts';
import { listen } from '../store/listen.ts';
import { findLog, type LogState, readLog } from '../store/log-reader.ts';
import { noticeOf } from '../store/logs.ts';
import { jobNames } from '../store/overview.ts';
import { watchLog } from '../store/watchers.ts';
import { withDatabase } from './database.ts';
import { CommandError, exitCodes, usageError } from './errors.ts';
import { findPipeline, pipelineArgument } from './find.ts';
import { notes } from './help.ts';
import { entriesOf, logLines } from './log-lines.ts';
import { ownShell, type Shell } from './shell.ts';
import { json, plain, unfinished } from './text.ts';

interface Options {
  readonly follow?: true;
  readonly attempt?: number;
  readonly json?: true;
  readonly plain?: true;
  readonly times?: true;
}

/** A notice may be lost. */
const lookEveryMs = 1_000;
/** How long somebody who follows is taken to be there, and how often that is said again. */
const watchForMs = 150_000;
const watchEveryMs = 60_000;
const pageBytes = 256 * 1024;

/** `whorl logs`: what the jobs of a pipeline wrote, as the database has it. */
export function logsCommand(shell: Shell = ownShell): Command {
  return new Command('logs')
    .description('show the log of a job, or those of all jobs of a pipeline')
    .argument(...pipelineArgument)
    .argument('[job]', 'one job only, by its name such as ci.yml; without it, all of them, one after the other')
    .option('-f, --follow', 'wait for more until the job has ended and its log is whole')
    .option('--attempt <number>', 'an earlier attempt; the newest without it', readAttempt)
    .option('--times', 'the time before each line')
    .option('--plain', 'without colours, also on a terminal')
    .option('--json', 'as JSON, an entry on each line, as /logs sends them')
    .addHelpText(
      'after',
      notes({
        about: 'Colours are shown on a terminal only.',
        exit: 'The exit code is 0 when there was something to show, and 3 when there is no log yet.',
        examples: [
          'whorl logs pipeline/knot1.tangled.sh/3lwz7gq5vks22',
          'whorl logs 3lwz7gq5vks22 ci.yml --follow',
          'whorl logs 3lwz7gq5vks22 ci.yml --attempt 1 --times',
        ],
      }),
    )
    .action(async (text: string, job: string | undefined, options: Options) => {
      await withDatabase(shell.env, async (sql) => showLogs(shell, sql, await findPipeline(sql, text), job, options));
    });
}

async function showLogs(shell: Shell, sql: Sql, pipeline: PipelineId, job: string | undefined, options: Options) {
  const names = await jobNames(sql, pipeline);
  if (names.length === 0) {
    throw new CommandError(
      `${pipeline} has no jobs, so there is no log: \`whorl show ${pipeline}\` says why`,
      exitCodes.waiting,
    );
  }
  if (job !== undefined && !names.includes(job)) {
    throw new CommandError(`${pipeline} has no job ${job}; it has ${names.join(', ')}`);
  }
  const wanted = job === undefined ? names : [job];
  const several = wanted.length > 1;
  let shown = 0;
  const missing: string[] = [];
  for (const name of wanted) {
    const key = await keyOf(sql, pipeline, name, options.attempt);
    if (several && !options.json) shell.print(plain(`##### ${name}, attempt ${key.attempt}`));
    const { entries, state } = await showLog(shell, sql, key, options);
    if (entries > 0) shown++;
    else missing.push(whyNone(key, state));
    if (!state.over && entries > 0) shell.complain(plain(`${name} goes on; --follow waits for the rest`));
    if (several && !options.json && entries === 0) shell.print(plain(whyNone(key, state)));
  }
  if (shown === 0) {
    throw new CommandError(`${missing.join('; ')}; --follow waits for it`, exitCodes.waiting);
  }
}

async function keyOf(sql: Sql, pipeline: PipelineId, job: string, attempt: number | undefined): Promise<AttemptKey> {
  const { knot, rkey } = parsePipelineId(pipeline) ?? { knot: '', rkey: '' };
  const newest = await findLog(sql, { knot, rkey, jobs: [job] });
  if (!newest) throw new CommandError(`the job ${job} of ${pipeline} is gone from the database`);
  if (attempt === undefined || attempt <= newest.attempt) return { ...newest, attempt: attempt ?? newest.attempt };
  const had = newest.attempt === 1 ? 'one attempt' : `${newest.attempt} attempts`;
  throw new CommandError(`${job} has had ${had}, so there is no attempt ${attempt}`);
}

const whyNone = ({ job }: AttemptKey, { status, error }: LogState): string =>
  `there is no log of ${job} yet: ${status ? `it is ${status}` : 'nothing was heard of it so far'}` +
  (error ? ` (${unfinished(error)})` : '');

/** Prints one log from its beginning: what is there, or, following it, all that there will be. */
async function showLog(
  { print, colours = false }: Shell,
  sql: Sql,
  key: AttemptKey,
  { follow, plain: withoutColours, times, json: asJson }: Options,
): Promise<{ entries: number; state: LogState }> {
  const line = logLines({ colours: colours && !withoutColours, times: times ?? false });
  const show = (text: Buffer): void => {
    for (const entry of entriesOf(text.toString())) {
      const shown = asJson ? json({ job: key.job, attempt: key.attempt, ...entry }, 0) : line(entry);
      if (shown !== undefined) print(shown);
    }
  };
  const news = follow ? waiter(sql, key) : undefined;
  try {
    for (let at = 0; ;) {
      const turn = news?.begin();
      const read = await readLog(sql, key, at, pageBytes);
      if (!read) throw new CommandError(`the job ${key.job} of ${key.pipeline} is gone from the database`);
      const { page, state } = read;
      if (page) {
        show(page.text);
        at = page.next;
        continue;
      }
      const remark = remarkOf(state);
      if (remark) show(remarkEntries(remark, at === 0 ? 0 : state.steps));
      if (state.over || !turn) return { entries: at + (remark ? 1 : 0), state };
      await turn(state);
    }
  } finally {
    await news?.close();
  }
}

/** Waits for news of a log, and says meanwhile that somebody reads it. */
function waiter(sql: Sql, key: AttemptKey) {
  let wake = (): void => {};
  let watchedAt = -Infinity;
  const mine = noticeOf(key);
  const listener = listen(sql, ['logs'], (_channel, payload) => {
    if (payload === '' || payload === mine) wake();
  });
  return {
    /** Before looking, so that a notice that comes meanwhile counts. Gives what waits for the next one. */
    begin() {
      const woken = Promise.withResolvers<void>();
      wake = woken.resolve;
      return async ({ ended }: LogState): Promise<void> => {
        const now = performance.now();
        if (!ended && now - watchedAt >= watchEveryMs) {
          watchedAt = now;
          await watchLog(sql, { pipeline: key.pipeline, job: key.job, forMs: watchForMs });
        }
        const timer = setTimeout(woken.resolve, lookEveryMs);
        await woken.promise;
        clearTimeout(timer);
      };
    },
    close: () => listener.close(),
  };
}

function readAttempt(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw usageError(`${JSON.stringify(text)} is not the number of an attempt: the first one is 1`);
}
