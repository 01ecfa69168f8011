import { Command } from 'commander';
import { appviewCommand } from './appview/command.ts';
import { buildkiteCommand } from './buildkite/command.ts';
import { knotCommand } from './knot/command.ts';

await new Command('sim')
  .description('simulators that speak the real protocols, each alone on a port of your choice')
  .addCommand(buildkiteCommand())
  .addCommand(knotCommand())
  .addCommand(appviewCommand())
  .showHelpAfterError()
  .parseAsync();
