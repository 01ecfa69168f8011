import { cleanText, withoutColours } from '../ansi.ts';
import { lineCut, lineKept } from '../line.ts';
import type { LogLine, LogPlace } from '../provider.ts';

/** Turns a job's raw log, given in chunks of any size, into lines. Holds one unfinished line, at most `lineKept` of it. */
export interface LogDecoder {
  /** Behind the last line that was given. */
  readonly place: LogPlace;
  /** The lines that end within this chunk. The chunk is not kept. */
  push(chunk: Uint8Array): LogLine[];
  /** Nothing follows: the last line, if it has no end and is not empty. */
  end(): LogLine[];
}

const lf = 0x0a;
const cr = 0x0d;

/** SGR codes that stand alone between carriage returns are kept up to here, so that a colour ends where it should. */
const looseColours = 256;

/** The last time that RFC 3339 can say, in ms. */
const lastTime = 253_402_300_799_999;

/**
 * A decoder for what follows `from`, which is the beginning of a line.
 *
 * The agent writes the time before each line, `ESC _ bk;t=<ms> BEL`, and again while one line is written over and over
 * (`\r`). A line has the first time in it, or else the last one before it. Of what was written over, the last part that
 * shows anything counts. (Buildkite’s agent, and its own terminal-to-html and buildkite-logs.)
 */
export function logDecoder(from: LogPlace): LogDecoder {
  let place = from;
  let read = from.bytes;
  let clock = from.at;
  // Of the line that is being read: its first time, and the last part that shows anything.
  let first: number | undefined;
  let shown: { text: string; size: number } | undefined;
  let colours = '';
  // Of its present part: what was kept, how much that is, and how long the part is.
  let pieces: Buffer[] = [];
  let kept = 0;
  let size = 0;

  const heed = (content: string): void => {
    if (!content.startsWith('bk;')) return;
    const [, key, digits] = /;(d?t)=(\d{1,15})(?:;|$)/.exec(content) ?? [];
    if (digits === undefined) return;
    const time = Number(digits) + (key === 'dt' ? (clock ?? Number.NaN) : 0);
    if (!(time <= lastTime)) return;
    clock = time;
    first ??= time;
  };

  const take = (raw: string, bytes: number): void => {
    const text = cleanText(afterTime(raw, heed), heed);
    if (withoutColours(text) !== '') {
      shown = { text: colours + text, size: bytes };
      colours = '';
    } else if (text.length <= looseColours - colours.length) {
      if (shown && shown.text.length < lineKept) shown.text += text;
      else colours += text;
    }
  };

  const closePart = (): void => {
    if (size > 0) take(Buffer.concat(pieces).toString('utf8'), size);
    pieces = [];
    kept = 0;
    size = 0;
  };

  /** A piece of a line without LF; `ends`: the line ends here. `nextCr` finds the first CR from a position on. */
  const feed = (bytes: Buffer, start: number, to: number, ends: boolean, nextCr: (at: number) => number): void => {
    for (let at = start; at < to;) {
      const stop = Math.min(nextCr(at), to);
      const whole = stop < to || ends;
      if (whole && size === 0 && stop - at <= lineKept) {
        if (stop > at) take(bytes.toString('utf8', at, stop), stop - at);
      } else {
        const more = Math.min(stop - at, lineKept - kept);
        // A copy: the chunk may be large, or used again.
        if (more > 0) pieces.push(Buffer.from(bytes.subarray(at, at + more)));
        kept += more;
        size += stop - at;
        if (whole) closePart();
      }
      at = stop + 1;
    }
    if (ends) closePart();
  };

  const finish = (): LogLine | undefined => {
    const { text, size: bytes } = shown ?? { text: colours, size: 0 };
    const at = first ?? clock;
    first = undefined;
    shown = undefined;
    colours = '';
    return lineOf(text, at, bytes);
  };

  return {
    get place() {
      return place;
    },
    push(chunk) {
      const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      const lines: LogLine[] = [];
      let known = -1;
      const nextCr = (at: number): number => {
        if (known >= at) return known;
        const found = bytes.indexOf(cr, at);
        known = found < 0 ? Number.POSITIVE_INFINITY : found;
        return known;
      };
      let at = 0;
      for (let end = bytes.indexOf(lf); end >= 0; end = bytes.indexOf(lf, at)) {
        feed(bytes, at, end, true, nextCr);
        const line = finish();
        if (line) lines.push(line);
        at = end + 1;
        place = { bytes: read + at, at: clock };
      }
      feed(bytes, at, bytes.length, false, nextCr);
      read += bytes.length;
      return lines;
    },
    end() {
      if (read === place.bytes) return [];
      closePart();
      const line = finish();
      place = { bytes: read, at: clock };
      return line && line.text !== '' ? [line] : [];
    },
  };
}

/** Almost every line begins with its time: cut off here, it leaves a text that mostly needs no cleaning. */
function afterTime(raw: string, heed: (content: string) => void): string {
  if (!raw.startsWith('\x1b_bk;t=')) return raw;
  const end = raw.indexOf('\x07');
  const content = raw.slice(2, end);
  if (end < 0 || !/^bk;t=\d+$/.test(content)) return raw;
  heed(content);
  return raw.slice(end + 1);
}

function lineOf(text: string, at: number | null, bytes: number): LogLine | undefined {
  const header = /^(---|\+\+\+|~~~) +(.*)$/.exec(text);
  if (header) {
    const name = withoutColours(header[2] ?? '').trim();
    if (name !== '') return { text: name, at, group: header[1] === '~~~' ? 'system' : 'user', ...cut(bytes) };
  }
  // “Open the group before this one”, which means nothing where all are open.
  if (/^\^\^\^ \+\+\+\s*$/.test(text)) return undefined;
  return { text, at, ...cut(bytes) };
}

const cut = (bytes: number): { bytes?: number } => (bytes > lineCut ? { bytes } : {});
