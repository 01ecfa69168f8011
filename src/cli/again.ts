import type { Command } from 'commander';

/** The command line that was typed, to be typed again with another value of one option. */
export function typedAgain(command: Command, option: string, value: string): string {
  let root = command;
  while (root.parent) root = root.parent;
  const typed = (root as Command & { rawArgs?: string[] }).rawArgs ?? [];
  const rest = typed.filter(
    (each, at) => each !== option && typed[at - 1] !== option && !each.startsWith(`${option}=`),
  );
  return [root.name(), ...rest, option, value].map(inShell).join(' ');
}

/** A word as a shell reads it. */
const inShell = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
