#!/usr/bin/env node
import { ownShell, run } from './cli/index.ts';
import { whorlProgram } from './cli/program.ts';

// Whoever reads our output may have had enough of it, as `head` does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

const code = await run(whorlProgram(ownShell), process.argv.slice(2), ownShell);
// Roles set the exit code themselves.
if (code !== 0) {
  process.exitCode = code;
  // What failed may have left something behind that goes on, and whoever watches the process waits for its end.
  setTimeout(() => process.exit(), 5_000).unref();
}
