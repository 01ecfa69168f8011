import { isEnd } from '../../pipeline/status.ts';
import { cleanText } from '../ansi.ts';
import type { LogLine, LogPart, LogRequest, LogStep } from '../provider.ts';
import { type Data, type Run, scriptOf, stateOf } from './state.ts';

/** Between two lines of a run without an end, ms. */
const slowly = 200;

const runsOf = (data: Data): Run[] => [...(data.before ?? []), data];

const idOf = (n: number): string => (n === 0 ? 'fake' : `fake/${n}`);

/** Each run of a fake build is a step with a log of its own. */
export function fakeSteps(data: Data, now: number): LogStep[] {
  return runsOf(data).map((run, n) => {
    const { status, at } = stateOf(data.target, run, now);
    const { from } = spanOf(data, run);
    const ended = isEnd(status);
    return {
      id: idOf(n),
      name: n === 0 ? 'fake' : `fake (retry ${n})`,
      state: ended ? 'ended' : from !== undefined && from <= now ? 'running' : 'waiting',
      ...(from !== undefined && from <= now ? { startedAt: from } : {}),
      ...(ended ? { endedAt: at } : {}),
    };
  });
}

/** What a run has written by now, spread over its time. A place counts the bytes of the lines with an end each. */
export function fakeLog(
  data: Data,
  { step, from, most, head: first = Math.floor(most / 2) }: LogRequest,
  now: number,
): LogPart[] {
  const run = runsOf(data).find((_run, n) => idOf(n) === step.id);
  if (!run) return [];
  const { from: start, to } = spanOf(data, run);
  if (start === undefined) return [];
  const texts = data.target.logs.flatMap((text) => text.split(/\r?\n/));
  const until = Math.min(run.stopped ?? now, now);
  const pause = to === undefined ? slowly : (to - start) / texts.length;
  let bytes = 0;
  const lines = texts
    .map((text, n): Written => {
      bytes += sizeOf(text);
      return { text, at: Math.floor(start + n * pause), bytes };
    })
    .filter((line) => line.at <= until && line.bytes > from.bytes);
  const end = lines.at(-1);
  if (!end) return [];
  const place = { bytes: end.bytes, at: end.at };
  if (end.bytes - from.bytes <= most) return [{ lines: lines.map(lineOf), place }];

  const head = lines.filter((line) => line.bytes - from.bytes <= first);
  const tail = lines.filter((line) => line.bytes - sizeOf(line.text) >= end.bytes - (most - first));
  const last = head.at(-1);
  const skipped = (tail[0] ? tail[0].bytes - sizeOf(tail[0].text) : end.bytes) - (last?.bytes ?? from.bytes);
  return [
    ...(last ? [{ lines: head.map(lineOf), place: { bytes: last.bytes, at: last.at } }] : []),
    { lines: tail.map(lineOf), place, skipped },
  ];
}

/** A line, when it was written, and the bytes of the log up to its end. */
interface Written {
  text: string;
  at: number;
  bytes: number;
}

const sizeOf = (text: string): number => Buffer.byteLength(text) + 1;

const lineOf = ({ text, at }: Written): LogLine => ({ text: cleanText(text), at });

/** When a run began to run, and when its script ends. */
function spanOf({ target }: Data, run: Run): { from?: number; to?: number } {
  const steps = scriptOf(target, run)?.steps ?? [];
  const began = steps.find(({ status }) => status !== 'pending');
  if (!began || (run.stopped !== undefined && run.stopped < run.start + began.at)) return {};
  const end = steps.find(({ status }) => isEnd(status));
  return { from: run.start + began.at, ...(end ? { to: run.start + end.at } : {}) };
}
