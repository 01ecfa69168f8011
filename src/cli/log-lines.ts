import { z } from 'zod';
import { harmless } from './text.ts';

/** An entry of a log as it is stored: a frame of `/logs`. */
const entryForm = z.object({
  kind: z.string(),
  content: z.string(),
  time: z.string(),
  step_id: z.number(),
  step_status: z.string().optional(),
  step_kind: z.number().optional(),
  step_command: z.string().optional(),
  stream: z.string().optional(),
});

export type Entry = z.infer<typeof entryForm>;

export const entriesOf = (lines: string): Entry[] => lines.split('\n').map((line) => entryForm.parse(JSON.parse(line)));

export interface LineOptions {
  /** Colours of the log, and of our own headers. */
  colours: boolean;
  /** The time before each line. */
  times: boolean;
}

/** Turns the entries of one log, one by one, into lines for a terminal: a header for each step, and what it wrote. */
export function logLines({ colours, times }: LineOptions): (entry: Entry) => string | undefined {
  const painted = painter(colours);
  const before = ({ time }: Entry): string => (times ? `${harmless(time.replace(/(\.\d{3})\d+/, '$1'))}  ` : '');
  return (entry) => {
    if (entry.kind !== 'control') return before(entry) + painted(entry.content);
    if (entry.step_status !== 'start') return undefined;
    painted.reset();
    const command = entry.step_command ? `  $ ${entry.step_command}` : '';
    const header = harmless(`=== ${entry.content}${command}`);
    return before(entry) + (colours ? `\u001b[1m${header}\u001b[0m` : header);
  };
}

// oxlint-disable-next-line no-control-regex -- the codes of colours are what it is about
const sgr = /(\u001b\[[0-9;:]*m)/;
const isReset = (code: string): boolean => /^.\[0*m$/.test(code);
/** What is on at once; a log that turns on more than that is playing. */
const mostCodes = 16;

/**
 * Text of a log, safe for a terminal. A colour holds over the lines of a step until it is reset, but each line ends
 * without one, so that nothing stays coloured when the reader stops.
 */
function painter(colours: boolean) {
  let on: string[] = [];
  const paint = (text: string): string => {
    const before = on.join('');
    const line = text
      .split(sgr)
      .map((part) => {
        if (!sgr.test(part)) return harmless(part);
        if (!colours) return '';
        on = isReset(part) ? [] : [...on, part].slice(-mostCodes);
        return part;
      })
      .join('');
    return before + line + (before !== '' || on.length > 0 ? '\u001b[0m' : '');
  };
  return Object.assign(paint, { reset: () => void (on = []) });
}
