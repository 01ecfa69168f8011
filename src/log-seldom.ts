/** How a line of the log is written: an object and a message, or a message. */
export type Args = [unknown, ...unknown[]];
type Write = (args: Args) => void;

export interface SeldomOptions {
  /** Lines of the same message that are written in one span of time. Default 3. */
  burst?: number;
  /** That span, ms. Default 30 s. */
  spanMs?: number;
}

const mostKnown = 200;

/**
 * Keeps the log readable while a service is away: of the same message so many lines are written in a span, the others are
 * counted, and at the end of the span one line, with what was last said, tells how many more there were.
 * @returns writes the line, or counts it and returns false
 */
export function seldom({ burst = 3, spanMs = 30_000 }: SeldomOptions = {}): (args: Args, write: Write) => boolean {
  const known = new Map<string, { lines: number; more: number; last: Args; write: Write; timer: NodeJS.Timeout }>();

  const end = (message: string): void => {
    const one = known.get(message);
    if (!one) return;
    clearTimeout(one.timer);
    known.delete(message);
    if (one.more === 0) return;
    const [about, ...rest] = one.last;
    const isObject = typeof about === 'object' && about !== null;
    one.write(isObject ? [{ ...about, more: one.more }, ...rest] : [{ more: one.more }, about, ...rest]);
  };

  return (args, write) => {
    const message = messageOf(args);
    const one = known.get(message);
    if (!one) {
      for (const oldest of known.keys()) {
        if (known.size < mostKnown) break;
        end(oldest);
      }
      const timer = setTimeout(() => end(message), spanMs).unref();
      known.set(message, { lines: 1, more: 0, last: args, write, timer });
    } else if (one.lines >= burst) {
      one.more++;
      one.last = args;
      return false;
    } else one.lines++;
    write(args);
    return true;
  };
}

/** What is the same when the same happens again: the message, and the code of an error. */
function messageOf([first, second]: Args): string {
  if (typeof first !== 'object' || first === null) return String(first);
  const error = 'err' in first ? first.err : undefined;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return `${String(second)} ${code}`;
}
