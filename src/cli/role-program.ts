import { Command } from 'commander';
import { version } from '../version.ts';
import { runCommands } from './run.ts';
import { ownShell, type Shell } from './shell.ts';

/**
 * The command line of a process that runs a role: `up`, `ingest`, `worker`, `server`. It has nothing else, since what is
 * loaded stays in memory for as long as the process runs, and people's commands are some 10 MB.
 */
export function roleProgram(shell: Shell = ownShell): Command {
  const program = new Command('whorl')
    .description('A Tangled spindle that runs CI anywhere, durably.')
    .version(version)
    .option('--no-color', 'no colours, also on a terminal; NO_COLOR=1 does the same')
    .on('option:no-color', () => void (shell.colours = false));
  program.commandsGroup('Run:');
  for (const command of runCommands()) program.addCommand(command);
  return program;
}

/** Whether a command line begins with the name of a role. */
export const namesRole = ([first]: readonly string[]): boolean =>
  runCommands().some((command) => command.name() === first);
