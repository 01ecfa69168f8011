import type { Command } from 'commander';
import { askCommand } from './ask.ts';
import { ownShell, type Shell } from './shell.ts';
import { showCommand } from './show.ts';

/** What a person does with a pipeline. */
export const pipelineCommands = (shell: Shell = ownShell): Command[] => [
  showCommand(shell),
  askCommand('cancel', shell),
  askCommand('rerun', shell),
  askCommand('retry', shell),
];
