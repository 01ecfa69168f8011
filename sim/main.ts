import { Command } from 'commander';
import { appviewCommand } from './appview/command.ts';
import { atprotoCommand } from './atproto/command.ts';
import { buildkiteCommand } from './buildkite/command.ts';
import { knotCommand } from './knot/command.ts';

await new Command('sim')
  .description('simulators that speak the real protocols, each alone on a port of your choice')
  .addCommand(buildkiteCommand())
  .addCommand(knotCommand())
  .addCommand(atprotoCommand())
  .addCommand(appviewCommand())
  .showHelpAfterError()
  .parseAsync();
