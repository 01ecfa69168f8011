import type { Command } from 'commander';
import { completionCommand } from './completion.ts';
import { configCommand } from './config.ts';
import { doctorCommand } from './doctor.ts';
import { deliveriesCommand } from './deliveries.ts';
import { exportCommand } from './export.ts';
import { framesCommand } from './frames.ts';
import { knotsCommand } from './knots.ts';
import { migrateCommand } from './migrate.ts';
import { pipelineCommands } from './pipelines.ts';
import { replayCommand } from './replay.ts';
import { reposCommand } from './repos.ts';
import { restoreCommand } from './restore.ts';
import { ownShell, type Shell } from './shell.ts';

export { run, type Shell } from './shell.ts';

/** Adds the commands that look and ask. Whoever runs the program with `run` gets their exit code. */
export function addCommands(program: Command, shell: Shell = ownShell): Command {
  for (const [group, commands] of Object.entries(groups(shell))) {
    program.commandsGroup(group);
    for (const command of commands) program.addCommand(command);
  }
  return program;
}

const groups = (shell: Shell): Record<string, Command[]> => ({
  'Pipelines:': pipelineCommands(shell),
  'What comes in:': [reposCommand(shell), knotsCommand(shell), deliveriesCommand(shell), framesCommand(shell)],
  'Operation:': [
    doctorCommand(shell),
    configCommand(shell.env, (text) => shell.print(text)),
    migrateCommand(shell),
    replayCommand(shell),
    restoreCommand(shell),
    exportCommand(shell),
    completionCommand(shell),
  ],
});
