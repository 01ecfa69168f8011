import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { beginning, draftOf, sizeText } from '../../src/activities/log-draft.ts';
import { secretMask } from '../../src/activities/mask.ts';
import { cleanText, withoutColours } from '../../src/providers/ansi.ts';
import { logDecoder } from '../../src/providers/buildkite/log-format.ts';
import { cutLine, lineCut, lineKept } from '../../src/providers/line.ts';
import type { LogLine } from '../../src/providers/provider.ts';
import { chunkPacker, unpackEntries } from '../../src/store/log-chunks.ts';
import { changedBytes } from '../inputs/bytes.ts';
import { seedOf, xorshift } from '../random.ts';
import { expect, type Target } from '../target.ts';
import { logSamples, logWords, longLines, secret } from './log-samples.ts';

const inputs = fc.oneof(
  { weight: 60, arbitrary: changedBytes(logSamples, { words: logWords, most: 8_192 }) },
  { weight: 1, arbitrary: changedBytes(longLines, { words: logWords, most: 3 * lineKept }) },
  {
    weight: 20,
    arbitrary: fc
      .array(fc.constantFrom(...logWords), { maxLength: 40, size: 'max' })
      .map((words) => Buffer.concat(words.map((word) => Buffer.from(word)))),
  },
);

/** What is left after cleaning is text, TABs and codes of colours. */
// oxlint-disable-next-line no-control-regex -- this is what it is about
const unclean = /[\x00-\x08\x0a-\x1a\x1c-\x1f\x7f-\x9f]|\x1b(?!\[[\d;:]*m)/;

export const logBytesTarget: Target = {
  name: 'log-bytes',
  about: 'raw logs, cut anywhere: lines, times, escapes',
  weight: 8,
  inputs,
  run(input) {
    const whole = decode([input]);
    const parts = decode(cutUp(input));
    expect(isDeepStrictEqual(parts, whole), () => `cut into pieces it is ${brief(parts)}, and whole ${brief(whole)}`);
    expect(whole.place.bytes <= input.length, () => `the place ${whole.place.bytes} is behind the end`);
    for (const line of whole.lines) judgeLine(line);
    const text = input.toString('utf8');
    const clean = cleanText(text.slice(0, lineKept));
    expect(!unclean.test(clean), () => `not clean: ${JSON.stringify(clean.slice(0, 500))}`);
  },
};

const brief = (value: unknown): string => JSON.stringify(value).slice(0, 600);

function decode(chunks: readonly Buffer[]) {
  const decoder = logDecoder({ bytes: 0, at: null });
  const lines: LogLine[] = [];
  for (const chunk of chunks) {
    // the decoder may keep no chunk, so it is overwritten
    const copy = Buffer.from(chunk);
    lines.push(...decoder.push(copy));
    copy.fill(0x78);
  }
  const between = decoder.place;
  lines.push(...decoder.end());
  return { lines, between, place: decoder.place };
}

/** Into pieces of any size, of one byte too; the same for the same bytes. */
function cutUp(bytes: Buffer): Buffer[] {
  const next = xorshift(seedOf(bytes.length, bytes.toString('latin1', 0, 64)));
  const largest = [1, 3, 17, 1_024, 70_000][next(5)] ?? 1;
  const least = Math.ceil(bytes.length / 4_000);
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const size = Math.max(least, 1 + next(largest));
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  return pieces;
}

function judgeLine({ text, at, group, bytes }: LogLine): void {
  expect(!unclean.test(text) && !text.includes('\n'), () => `not clean: ${JSON.stringify(text.slice(0, 500))}`);
  expect(at === null || Number.isSafeInteger(at), () => `the time ${at}`);
  expect(group === undefined || (text !== '' && text === withoutColours(text)), () => `a group called ${text}`);
  const cut = bytes === undefined ? text : cutLine({ text, bytes });
  expect(cut.length <= lineCut + 100, () => `a line of ${cut.length} characters`);
}

const packer = chunkPacker();
const createdAt = new Date(Date.UTC(2026, 10, 21));

export const logFramesTarget: Target = {
  name: 'log-frames',
  about: 'what readers of /logs get of them, without secrets',
  weight: 3,
  inputs,
  async run(input) {
    const mask = secretMask(() => [secret])();
    const decoder = logDecoder({ bytes: 0, at: null });
    const lines = [...cutUp(input).flatMap((piece) => decoder.push(piece)), ...decoder.end()];
    const about = { id: 'x', name: input.toString('utf8', 0, 700), state: 'ended', endedAt: input.length } as const;
    const log = { entries: 0, bytes: 0, steps: 0, listed: -1, complete: -1, createdAt, removed: false };
    const step = { step: 'x', position: 0, about, place: beginning, done: false };
    const draft = draftOf({ log, step, mask, label: about.name, packer, url: null });
    draft.start();
    const skipped = input.length % 3;
    await draft.take({
      lines,
      place: decoder.place,
      again: input.length % 5 === 0,
      ...(skipped > 0 ? { skipped } : {}),
    });
    draft.say(sizeText(input.length));
    draft.end();
    const { chunks, steps } = await draft.addition();
    let open = -1;
    for (const chunk of chunks) {
      for (const entry of await unpackEntries(chunk.data)) open = judgeFrame(entry, open, steps);
    }
    expect(open === -1, () => `step ${open} is never closed`);
  },
};

/** Gives the step that is open after this frame, -1 for none. */
function judgeFrame(entry: string, open: number, steps: number): number {
  const frame = JSON.parse(entry) as Record<string, unknown>;
  const content = String(frame['content']);
  expect(content.isWellFormed() && !unclean.test(content), () => `not clean: ${entry.slice(0, 500)}`);
  if (frame['kind'] === 'data') {
    expect(!withoutColours(content).includes(secret), () => `the secret stands in ${entry.slice(0, 500)}`);
    expect(frame['step_id'] === open, () => `a line of step ${String(frame['step_id'])} while ${open} is open`);
  }
  expect(Number(frame['step_id']) < steps, () => `step ${String(frame['step_id'])} of ${steps}`);
  expect(!Number.isNaN(Date.parse(String(frame['time']))), () => `the time ${String(frame['time'])}`);
  if (frame['step_status'] === 'start') return Number(frame['step_id']);
  return frame['step_status'] === 'end' ? -1 : open;
}
