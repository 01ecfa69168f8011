import type { Command } from 'commander';

/** A command as a shell should complete it. */
export interface Completable {
  /** Its words: `''` for the program, `repos pin`. */
  path: string;
  description: string;
  commands: { name: string; description: string }[];
  options: CompletableOption[];
  /** What its arguments may be, when there is a choice. */
  choices: string[];
  /** Its arguments are files. */
  files: boolean;
}

export interface CompletableOption {
  flags: string[];
  description: string;
  /** Whether the next word belongs to it. */
  takes: boolean;
  choices: string[];
}

/** All commands that the help shows, the program first. */
export function completables(program: Command): Completable[] {
  const found: Completable[] = [];
  const walk = (command: Command, path: string): void => {
    const help = command.createHelp();
    const commands = help.visibleCommands(command).filter((each) => each.name() !== 'help' || path === '');
    found.push({
      path,
      description: command.description(),
      commands: commands.map((each) => ({ name: each.name(), description: each.description() })),
      options: help.visibleOptions(command).map((option) => ({
        flags: [option.long, option.short].filter((flag) => flag !== undefined && flag !== null),
        description: option.description,
        takes: option.required,
        choices: option.argChoices ?? [],
      })),
      choices:
        command.name() === 'help' ? [] : command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []),
      files: command.registeredArguments.some((argument) => /file/.test(argument.name())),
    });
    for (const each of commands) if (each.name() !== 'help') walk(each, `${path} ${each.name()}`.trim());
  };
  walk(program, '');
  return found;
}
