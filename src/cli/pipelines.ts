import type { Command } from 'commander';
import { askCommand } from './ask.ts';
import { lintCommand } from './lint.ts';
import { listCommand } from './list.ts';
import { logsCommand } from './logs.ts';
import { ownShell, type Shell } from './shell.ts';
import { showCommand } from './show.ts';
import { watchCommand } from './watch.ts';
import { whyCommand } from './why.ts';

/** What a person does with a pipeline. */
export const pipelineCommands = (shell: Shell = ownShell): Command[] => [
  listCommand(shell),
  showCommand(shell),
  watchCommand(shell),
  whyCommand(shell),
  logsCommand(shell),
  askCommand('cancel', shell),
  askCommand('rerun', shell),
  askCommand('retry', shell),
  lintCommand(shell),
];
