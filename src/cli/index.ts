import type { Command } from 'commander';
import { configCommand } from './config.ts';
import { framesCommand } from './frames.ts';
import { migrateCommand } from './migrate.ts';
import { pipelineCommands } from './pipelines.ts';
import { replayCommand } from './replay.ts';
import { reposCommand } from './repos.ts';
import { ownShell, type Shell } from './shell.ts';

export { ownShell, run, type Shell } from './shell.ts';

/** Adds the commands that look and ask. Whoever runs the program with `run` gets their exit code. */
export function addCommands(program: Command, shell: Shell = ownShell): Command {
  program.addCommand(configCommand(shell.env, (text) => shell.print(text)));
  program.addCommand(migrateCommand(shell));
  program.addCommand(reposCommand(shell));
  program.addCommand(framesCommand(shell));
  program.addCommand(replayCommand(shell));
  for (const command of pipelineCommands(shell)) program.addCommand(command);
  return program;
}
