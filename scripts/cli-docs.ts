// The text of docs/cli.md, from the help of the commands themselves.
import type { Command } from 'commander';
import { whorlProgram } from '../src/cli/program.ts';

const width = 100;

const head = `# The command line

<!-- Made by \`node scripts/docs.ts\` from the help of the commands in src/cli. Change it there. -->

This is what \`whorl --help\` and \`whorl help <command>\` print.

- \`--json\` is for programs: names of fields stay, times are RFC 3339 in UTC, and what a terminal would act upon is
  escaped. Commands whose output may be long or goes on (\`logs\`, \`watch\`, \`export\`) print one JSON object a line.
- Tables are cut to the terminal. Into a pipe or a file everything is printed, each row on one line, without colours.
- What went wrong is one sentence on standard error, with what to do. \`WHORL_LOG_LEVEL=debug\` shows where it came from.
- Completion of bash, zsh and fish: \`whorl completion --help\`.
`;

/** The text of docs/cli.md. */
export function commandLineDocs(): string {
  const program = whorlProgram({ env: {}, print() {}, complain() {} });
  return [head, section(program, 'whorl'), ...below(program, 'whorl')].join('\n');
}

const below = (parent: Command, path: string): string[] =>
  parent.commands.flatMap((command) => {
    const own = `${path} ${command.name()}`;
    return [section(command, own), ...below(command, own)];
  });

const section = (command: Command, path: string): string => `## ${path}\n\n\`\`\`text\n${helpOf(command)}\n\`\`\`\n`;

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({
    writeOut: (part) => void (text += part),
    getOutHelpWidth: () => width,
    getOutHasColors: () => false,
  });
  command.outputHelp();
  return text.trimEnd();
}
