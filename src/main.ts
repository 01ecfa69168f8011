#!/usr/bin/env node
import { namesRole, roleProgram } from './cli/role-program.ts';
import { ownShell, run } from './cli/shell.ts';

// Whoever reads our output may have had enough of it, as `head` does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

const args = process.argv.slice(2);
const program = namesRole(args) ? roleProgram() : (await import('./cli/program.ts')).whorlProgram();
const code = await run(program, args, ownShell);
// Roles set the exit code themselves.
if (code !== 0) {
  process.exitCode = code;
  // What failed may have left something behind that goes on, and whoever watches the process waits for its end.
  setTimeout(() => process.exit(), 5_000).unref();
}
