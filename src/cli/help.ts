import type { Command } from 'commander';

export interface HelpTexts {
  /** Sentences on what one cannot guess. Wrapped to the terminal here. */
  about?: string;
  /** What the exit code says, where it says more than whether it worked. */
  exit?: string;
  /** Command lines, at least one. */
  examples: readonly [string, ...string[]];
}

/** For `addHelpText('after', …)`: what stands below the options in the help of a command, wrapped to the terminal. */
export const notes =
  ({ about, exit, examples }: HelpTexts) =>
  ({ command }: { command: Command }): string => {
    const help = command.createHelp();
    const wrapped = [about, exit].flatMap((text) =>
      text === undefined ? [] : [...help.boxWrap(text, widthOf(command)).split('\n'), ''],
    );
    const title = examples.length === 1 ? 'Example:' : 'Examples:';
    return ['', ...wrapped, title, ...examples.map((example) => `  ${example}`)].join('\n');
  };

/** Longer lines are hard to read, however wide the terminal. */
const widest = 100;

/** How wide the help of a command is. */
export const widthOf = (command: Command): number =>
  Math.min(widest, command.configureOutput().getOutHelpWidth?.() ?? 80);

/** What every command ends with. */
export const exitCodesHelp = `Exit codes:
  0    done; a pipeline that was watched is green
  1    it failed, was refused, or is red; standard error says why
  2    what was typed cannot be meant
  3    not yet: it still waits, or there is nothing to show so far
  130  stopped by Ctrl-C`;
