#!/usr/bin/env node
import { Command } from 'commander';
import { addCommands } from './cli/index.ts';
import { runCommands } from './cli/run.ts';

const program = new Command('whorl')
  .description('A Tangled spindle that runs CI anywhere, durably.')
  .version('0.1.0')
  .showHelpAfterError('(add --help for the options)');
for (const command of runCommands()) program.addCommand(command);
addCommands(program);

await program.parseAsync();
