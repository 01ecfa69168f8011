import type { Command } from 'commander';
import { askCommand } from './ask.ts';
import { logsCommand } from './logs.ts';
import { ownShell, type Shell } from './shell.ts';
import { showCommand } from './show.ts';

/** What a person does with a pipeline. */
export const pipelineCommands = (shell: Shell = ownShell): Command[] => [
  showCommand(shell),
  logsCommand(shell),
  askCommand('cancel', shell),
  askCommand('rerun', shell),
  askCommand('retry', shell),
];
