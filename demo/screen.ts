import type { WriteStream } from 'node:tty';
import { stripVTControlCharacters } from 'node:util';

/** What the demo writes to. */
export interface Screen {
  /** Lines that stay. */
  say(...lines: string[]): void;
  /** Replaces the block at the end by these lines. Does nothing where nothing can be replaced. */
  show(lines: string[]): void;
  /** The block stays as it is; what comes next stands below. */
  settle(): void;
  /** The cursor went down by so many lines, because the person pressed Enter. */
  moved(lines: number): void;
  /** True when blocks can be replaced. */
  readonly live: boolean;
}

/** A screen that writes one line after the other. */
export function plainScreen(out: NodeJS.WritableStream): Screen {
  return {
    live: false,
    say: (...lines) => void out.write(lines.map((line) => `${line}\n`).join('')),
    show: () => {},
    settle: () => {},
    moved: () => {},
  };
}

/** A terminal, whose last lines are written over in place. */
export function liveScreen(out: WriteStream): Screen {
  let below = 0;
  const up = (): string => (below === 0 ? '\r' : `\r\x1b[${below}A`);
  const write = (lines: string[]): void => {
    // One write, each line cleared behind its text: nothing flickers.
    out.write(`${up()}${lines.map((line) => `${line}\x1b[K\n`).join('')}\x1b[J`);
    below = lines.length;
  };
  return {
    live: true,
    say(...lines) {
      write(lines);
      below = 0;
    },
    // What scrolled away cannot be written over.
    show: (lines) => write(lines.slice(-Math.max(1, out.rows - 1)).map((line) => fit(line, out.columns))),
    settle: () => void (below = 0),
    moved: (lines) => void (below += below === 0 ? 0 : lines),
  };
}

/** A line that wraps would count as two. */
function fit(line: string, columns: number): string {
  const bare = stripVTControlCharacters(line);
  return bare.length <= columns ? line : `${bare.slice(0, columns - 1)}…`;
}
