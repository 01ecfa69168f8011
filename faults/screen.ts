/** Progress of a run: a line that changes on a terminal, and now and then a line of its own elsewhere. */
export interface Screen {
  say(line: string): void;
  /** What goes on at the moment; shown at most so often. */
  progress(line: string): void;
}

/** Writes to stderr, so that `--json` has stdout for itself. */
export function createScreen(everyMs = process.stderr.isTTY ? 500 : 10_000): Screen {
  const { stderr } = process;
  let shown = '';
  let last = 0;
  const clear = (): void => {
    if (shown !== '') stderr.write(`\r${' '.repeat(shown.length)}\r`);
    shown = '';
  };
  return {
    say(line) {
      clear();
      stderr.write(`${line}\n`);
    },
    progress(line) {
      if (Date.now() - last < everyMs) return;
      last = Date.now();
      if (!stderr.isTTY) return void stderr.write(`${line}\n`);
      clear();
      shown = line.slice(0, (stderr.columns ?? 80) - 1);
      stderr.write(shown);
    },
  };
}
