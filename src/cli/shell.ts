import { once } from 'node:events';
import { type Command, CommanderError } from 'commander';
import { ConfigError } from '../config/index.ts';
import { CommandError, exitCodes, messageOf } from './errors.ts';
import { plain } from './text.ts';

/** Where a command reads its settings and says what it has to say, a line at a time. */
export interface Shell {
  readonly env: NodeJS.ProcessEnv;
  print(line: string): void;
  /** To standard error. */
  complain(line: string): void;
  /** Whether what is printed may have colours. Default false; `--no-color` takes it away. */
  colours?: boolean;
  /** Until whoever reads what is printed has caught up: what is printed before that stays in memory. */
  readonly drained?: () => Promise<unknown>;
  /** The terminal that is printed to; undefined when it is a pipe or a file. */
  readonly terminal?: Terminal | undefined;
  /** Asks the person who sits there, and gives what was typed. Undefined when nobody does. */
  readonly ask?: ((question: string) => Promise<string>) | undefined;
}

/** What draws on a terminal needs to know of it. */
export interface Terminal {
  /** Characters, as they are now. */
  size(): { columns: number; rows: number };
  write(text: string): void;
}

const { stdout } = process;

export const ownShell: Shell = {
  env: process.env,
  print: (line) => console.log(line),
  complain: (line) => console.error(line),
  colours: stdout.isTTY && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb',
  drained: async () => stdout.writableNeedDrain && once(stdout, 'drain'),
  terminal:
    stdout.isTTY && process.env['TERM'] !== 'dumb'
      ? { size: () => ({ columns: stdout.columns, rows: stdout.rows }), write: (text) => void stdout.write(text) }
      : undefined,
  ask: process.stdin.isTTY && stdout.isTTY ? askHere : undefined,
};

async function askHere(question: string): Promise<string> {
  const { createInterface } = await import('node:readline/promises');
  const lines = createInterface({ input: process.stdin, output: stdout });
  try {
    return await lines.question(question);
  } finally {
    lines.close();
  }
}

/**
 * Runs a command line and gives its exit code: 0, or one of `exitCodes`. What went wrong is one sentence on standard
 * error; where, only with WHORL_LOG_LEVEL=debug.
 * @param args without the names of Node and of the program
 */
export async function run(program: Command, args: readonly string[], shell: Shell = ownShell): Promise<number> {
  prepare(program, shell);
  try {
    await program.parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    // commander has printed its help or its complaint
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitCodes.usage;
    if (messageOf(error) !== '') complain(error, shell);
    return error instanceof CommandError ? error.exitCode : exitCodes.failed;
  }
}

/** Commands that were added one by one take nothing over from the program, so each is told. */
function prepare(command: Command, shell: Shell): void {
  command.exitOverride().configureOutput({
    writeOut: (text) => shell.print(text.replace(/\n$/, '')),
    writeErr: (text) => shell.complain(text.replace(/\n$/, '')),
    outputError: (text) => shell.complain(`whorl: ${plain(text.replace(/^error: /, '').trimEnd())}`),
  });
  for (const each of command.commands) prepare(each, shell);
}

function complain(error: unknown, { env, complain: say }: Shell): void {
  const debugging = /^(?:debug|trace)$/i.test(env['WHORL_LOG_LEVEL']?.trim() ?? '');
  const expected = error instanceof CommandError || error instanceof ConfigError;
  const hint = expected || debugging ? '' : ' (WHORL_LOG_LEVEL=debug shows where this came from)';
  // The problems of a configuration have a line each.
  const message = messageOf(error).split('\n').map(plain).join('\n');
  say(`whorl: ${message}${hint}`);
  for (let cause = error; debugging && cause instanceof Error; cause = cause.cause) {
    say((cause.stack ?? '').split('\n').map(plain).join('\n'));
  }
}
