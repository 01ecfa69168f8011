import { Command } from 'commander';
import { exitCodesHelp, widthOf } from './help.ts';
import { addCommands } from './index.ts';
import { roleProgram } from './role-program.ts';
import { ownShell, type Shell } from './shell.ts';

/** The whole command line. Nothing runs, and nothing large is loaded, before it is parsed. */
export function whorlProgram(shell: Shell = ownShell): Command {
  const program = roleProgram(shell);
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
