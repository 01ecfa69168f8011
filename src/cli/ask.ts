import { randomUUID } from 'node:crypto';
import { userInfo } from 'node:os';
import { Command, Option } from 'commander';
import { parseDuration } from '../config/duration.ts';
import type { PipelineId } from '../pipeline/ids.ts';
import { type CommandResult, commandResult, insertCommand, type NewCommand } from '../store/commands.ts';
import type { Sql } from '../store/db.ts';
import { listen } from '../store/listen.ts';
import { isSameCommand, jobNames } from '../store/overview.ts';
import type { CommandKind } from '../store/work.ts';
import { withDatabase } from './database.ts';
import { CommandError, exitCodes, usageError } from './errors.ts';
import { findPipeline, pipelineArgument } from './find.ts';
import { notes } from './help.ts';
import { causeOption, retryCause } from './retry-cause.ts';
import { ownShell, type Shell } from './shell.ts';
import { json, plain, unfinished } from './text.ts';

interface Options {
  readonly id?: string;
  readonly by?: string;
  /** ms, or false for not at all. */
  readonly wait: number | false;
  readonly json?: true;
  readonly cause?: string;
  readonly dryRun?: true;
  readonly yes?: true;
}

const purposes: Record<CommandKind, string> = {
  cancel: 'stop the builds of a pipeline, or of one job of it',
  rerun: 'run the jobs of a pipeline again, or one of them, also after its end',
  retry: 'try again what waits for the operator, in a pipeline or in one job of it',
};

/** A notice may be lost. */
const lookEveryMs = 1_000;

/** `whorl cancel`, `rerun` and `retry`: writes down what is asked of a pipeline, and waits for what becomes of it. */
export function askCommand(kind: CommandKind, shell: Shell = ownShell): Command {
  const [pipelineName, aboutPipeline] = pipelineArgument;
  const command = new Command(kind)
    .description(purposes[kind])
    .argument(kind === 'retry' ? '[pipeline]' : pipelineName, aboutPipeline)
    .argument('[job]', 'one job only, by its name such as ci.yml; without it, all of them')
    .addOption(
      new Option('--wait <duration>', 'wait this long for the result').argParser(readWait).default(30_000, '30s'),
    )
    .option('--no-wait', 'write the command down and leave')
    .option('--by <name>', 'who asks, as others will read it (default: the user of this machine)', readBy)
    .option('--id <id>', 'an id of your own: given twice, the command is carried out once', readId)
    .option('--json', 'as JSON: the command, and what became of it')
    .addHelpText(
      'after',
      notes({
        exit: 'The exit code is 0 when it is done, 1 when it was refused, and 3 when it still waits to be carried out.',
        examples: [
          `whorl ${kind} pipeline/knot1.tangled.sh/3lwz7gq5vks22`,
          `whorl ${kind} 3lwz7gq5vks22 ci.yml --wait 2m`,
          `whorl ${kind} 3lwz7gq5vks22 --no-wait --by deploy-bot --id release-42`,
          ...(kind === 'retry' ? ['whorl retry --cause CredentialsRejected --dry-run'] : []),
        ],
      }),
    )
    .action((text: string | undefined, job: string | undefined, options: Options) =>
      options.cause === undefined
        ? ask(shell, kind, { text: named(text, options), job }, options)
        : askForCause(shell, options.cause, text, options),
    );
  if (kind !== 'retry') return command;
  return command
    .addOption(causeOption())
    .option('--dry-run', 'with --cause: only show what would be tried again')
    .option('--yes', 'with --cause: do not ask, however many they are');
}

function named(text: string | undefined, { dryRun, yes }: Options): string {
  if (dryRun || yes) throw usageError('--dry-run and --yes go with --cause only');
  if (text !== undefined) return text;
  throw usageError('say which pipeline, or --cause <cause> for all that one cause keeps waiting');
}

async function askForCause(
  shell: Shell,
  cause: string,
  text: string | undefined,
  { id = randomUUID(), by = user(), ...options }: Options,
): Promise<void> {
  if (text !== undefined) throw usageError('a pipeline and --cause do not go together: leave one of them away');
  await withDatabase(shell.env, (sql) => retryCause(shell, sql, { ...options, cause, id, by }));
}

async function ask(
  shell: Shell,
  kind: CommandKind,
  { text, job }: { text: string; job: string | undefined },
  { id = randomUUID(), by = user(), wait, json: asJson }: Options,
): Promise<void> {
  await withDatabase(shell.env, async (sql) => {
    const pipeline = await findPipeline(sql, text);
    await checkJob(sql, pipeline, job);
    const command = { id, pipeline, kind, job, by };
    await insertCommand(sql, command);
    await checkSame(sql, command);
    const answer = wait === false ? await commandResult(sql, id) : await settled(sql, id, wait);
    if (asJson) shell.print(json(asData(command, answer)));
    if (wait === false) return asJson ? undefined : shell.print(`Written down as ${plain(id)}: ${look(command)}.`);
    if (answer?.state === 'done') return asJson ? undefined : shell.print(plain(answer.result ?? 'Done.'));
    const reason = answer?.result ? `: ${answer.result}` : '';
    if (answer?.state === 'refused') throw new CommandError(`the ${kind} was refused${reason}`);
    const waiting = `the ${kind} still waits to be carried out${reason}`;
    throw new CommandError(`${unfinished(waiting)}; ${look(command)}`, exitCodes.waiting);
  });
}

/** What `--json` prints: a promise to scripts. `result` is what it came to, or what keeps it from being carried out. */
const asData = ({ id, pipeline, kind, job, by }: NewCommand, answer: CommandResult | undefined) => ({
  id,
  pipeline,
  kind,
  job: job ?? null,
  by,
  state: answer?.state ?? 'new',
  result: answer?.result ?? null,
});

const look = ({ id, kind, pipeline, job }: NewCommand): string => {
  const again = ['whorl', kind, pipeline, ...(job === undefined ? [] : [job]), '--id', id].join(' ');
  return plain(`\`whorl show ${pipeline}\` shows whether it waits, and \`${again}\` waits for its result`);
};

/** Dispatch would refuse it too, but an ended pipeline would be opened again before that. */
async function checkJob(sql: Sql, pipeline: PipelineId, job: string | undefined): Promise<void> {
  const names = await jobNames(sql, pipeline);
  if (job === undefined || names.length === 0 || names.includes(job)) return;
  throw new CommandError(`${pipeline} has no job ${job}; it has ${names.join(', ')}`);
}

async function checkSame(sql: Sql, command: NewCommand): Promise<void> {
  if (await isSameCommand(sql, command)) return;
  throw new CommandError(`the id ${command.id} is taken by another command: choose another one, or leave --id away`);
}

/** What became of a command, as soon as it is settled, or as it stands when the time is up. */
async function settled(sql: Sql, id: string, waitMs: number): Promise<CommandResult | undefined> {
  const end = performance.now() + waitMs;
  let wake = (): void => {};
  const listener = listen(sql, ['commands'], (_channel, payload) => {
    if (payload === '' || payload === id) wake();
  });
  try {
    for (;;) {
      // Before looking, so that a notice that comes meanwhile counts.
      const woken = Promise.withResolvers<void>();
      wake = woken.resolve;
      const answer = await commandResult(sql, id);
      const left = end - performance.now();
      if (answer?.state !== 'new' || left <= 0) return answer;
      const timer = setTimeout(woken.resolve, Math.min(left, lookEveryMs));
      await woken.promise;
      clearTimeout(timer);
    }
  } finally {
    await listener.close();
  }
}

/** A container may run as a user who has no name. */
function user(): string {
  try {
    return plain(userInfo().username);
  } catch {
    return `user ${process.getuid?.() ?? 'unknown'}`;
  }
}

function readWait(text: string): number {
  const wait = parseDuration(text);
  if (wait === undefined) throw usageError(`${JSON.stringify(text)} is not a duration: write 30s, 2m or 500ms`);
  return wait;
}

function readBy(text: string): string {
  const by = plain(text).trim();
  if (by === '' || by.length > 200) throw usageError('--by must be a name of 1 to 200 characters');
  return by;
}

function readId(text: string): string {
  if (!/^[^\s\p{Cc}]{1,200}$/u.test(text)) throw usageError('--id must be one word of 1 to 200 characters');
  return text;
}
