import { Argument, Command } from 'commander';
import { completionScript, shells } from './completion-scripts.ts';
import { notes } from './help.ts';
import { ownShell, type Shell } from './shell.ts';

/** `whorl completion`: a script that makes a shell complete our command lines, made from the commands themselves. */
export function completionCommand(shell: Shell = ownShell): Command {
  const command = new Command('completion')
    .description('print a script with which your shell completes the command lines of whorl')
    .addArgument(new Argument('<shell>', 'for which shell').choices(shells))
    .addHelpText(
      'after',
      notes({
        about:
          'It knows commands, options and their choices, and calls nothing while you type. Make it anew after an upgrade.',
        examples: [
          'source <(whorl completion bash)',
          'whorl completion bash > ~/.local/share/bash-completion/completions/whorl',
          'whorl completion zsh > "${fpath[1]}/_whorl"',
          'whorl completion fish > ~/.config/fish/completions/whorl.fish',
        ],
      }),
    )
    .action((name: (typeof shells)[number]) => {
      let root = command;
      while (root.parent) root = root.parent;
      shell.print(completionScript(name, root));
    });
  return command;
}
