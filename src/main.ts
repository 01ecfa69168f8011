#!/usr/bin/env node
import { Command } from 'commander';
import { addCommands, run } from './cli/index.ts';
import { runCommands } from './cli/run.ts';
import { version } from './version.ts';

const program = new Command('whorl').description('A Tangled spindle that runs CI anywhere, durably.').version(version);
for (const command of runCommands()) program.addCommand(command);
addCommands(program);

// Whoever reads our output may have had enough of it, as `head` does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

const code = await run(program, process.argv.slice(2));
// Roles set the exit code themselves.
if (code !== 0) process.exitCode = code;
