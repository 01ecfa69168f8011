/** A step as readers of `/logs` get it: a block that is opened and closed, with lines in between. */
export interface LogStepFrame {
  /** From 0, unique in the whole log. */
  step: number;
  name: string;
  /** What the CI does on its own account; appviews show it folded. */
  system?: boolean | undefined;
  command?: string | undefined;
  /** Ms since 1970. */
  at: number;
}

export interface LogLineFrame {
  /** A step that was opened before: a line without one is invisible. */
  step: number;
  text: string;
  /** Ms since 1970. */
  at: number;
}

/** The text of the frame on `/logs` that opens a step. */
export const stepStart = (step: LogStepFrame): string => control(step, 'start');

/** The text of the frame that closes a step; what it says of the step is what its start said. */
export const stepEnd = (step: LogStepFrame): string => control(step, 'end');

/** The text of the frame of one line. */
export const logLine = ({ step, text, at }: LogLineFrame): string =>
  JSON.stringify({ kind: 'data', content: shownText(text), time: logTime(at), step_id: step, stream: 'stdout' });

/** Keys in the order of Go's encoder. `step_kind` is a number, and left out for a system step, as Go leaves out a zero. */
const control = ({ step, name, system, command, at }: LogStepFrame, status: 'start' | 'end'): string =>
  JSON.stringify({
    kind: 'control',
    content: plainName(name),
    time: logTime(at),
    step_id: step,
    step_status: status,
    ...(system ? {} : { step_kind: 1 }),
    ...(command ? { step_command: plainName(command) } : {}),
  });

/** The last millisecond that RFC 3339 can name. */
const lastTime = Date.UTC(10_000, 0) - 1;

/** Many lines are written within one millisecond. */
let last = { ms: Number.NaN, text: '' };

/** RFC 3339 in UTC with nine digits of fraction. A time that is none is the nearest that can be written. */
export function logTime(ms: number): string {
  if (last.ms !== ms) last = { ms, text: timeText(ms) };
  return last.text;
}

function timeText(ms: number): string {
  const time = Number.isNaN(ms) ? 0 : Math.max(0, Math.min(lastTime, Math.floor(ms)));
  return `${new Date(time).toISOString().slice(0, -1)}000000Z`;
}

/*
 * What nobody's terminal should get. It is replaced and not removed, so that two halves of something that was masked
 * never come together.
 */
// oxlint-disable-next-line no-control-regex -- these are what it is about
const controls = /[\u0000-\u0008\u000a-\u001a\u001c-\u001f\u007f-\u009f]|\u001b(?!\[[0-9;:]*m)/g;

/** Text with no control characters but TAB and the codes of colours (SGR), and no halves of characters. */
const shownText = (text: string): string => text.toWellFormed().replaceAll(controls, '\ufffd');

// oxlint-disable-next-line no-control-regex -- as above
const colours = /\u001b\[[0-9;:]*m/g;

/** The same without colours, in one line. */
const plainName = (text: string): string => shownText(text.replaceAll(colours, '').replaceAll(/\s+/g, ' ').trim());
