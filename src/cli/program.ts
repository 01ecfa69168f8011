import { Command } from 'commander';
import { version } from '../version.ts';
import { exitCodesHelp, widthOf } from './help.ts';
import { addCommands } from './index.ts';
import { runCommands } from './run.ts';
import { ownShell, type Shell } from './shell.ts';

/** The whole command line. Nothing runs, and nothing large is loaded, before it is parsed. */
export function whorlProgram(shell: Shell = ownShell): Command {
  const program = new Command('whorl')
    .description('A Tangled spindle that runs CI anywhere, durably.')
    .version(version)
    .option('--no-color', 'no colours, also on a terminal; NO_COLOR=1 does the same')
    .on('option:no-color', () => void (shell.colours = false));
  program.commandsGroup('Run:');
  for (const command of runCommands()) program.addCommand(command);
  addCommands(program, shell);
  const help = new Command('help').argument('[command]').description('show the help of a command').helpOption(false);
  program.addHelpCommand(help.helpGroup('Operation:'));
  return program.addHelpText(
    'after',
    ({ command }) => `\n${command.createHelp().boxWrap(reads, widthOf(command))}\n\n${exitCodesHelp}\n\n${examples}`,
  );
}

const reads =
  'Commands read the same environment as the processes that run: the database of WHORL_DATABASE_URL, or else the one ' +
  'of a `whorl up` under WHORL_DATA_DIR. They work from any host that has it. `--json` gives what they print as data, ' +
  'with names that stay.';

const examples = `Examples:
  whorl pipelines --state open
  whorl watch 3lwz7gq5vks22
  whorl help pipelines`;
