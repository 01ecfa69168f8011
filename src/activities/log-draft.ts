import { logLine, stepEnd, stepStart } from '../forges/tangled/log.ts';
import { cutLine } from '../providers/line.ts';
import type { LogLine, LogPart, LogPlace } from '../providers/provider.ts';
import { chunkBytes, type ChunkPacker, chunkPacker, type LogChunk } from '../store/log-chunks.ts';
import type { Addition, LogState, StoredStep } from '../store/logs.ts';
import type { Mask } from './mask.ts';

/** How far a step was read, and what it has open in our log. */
export interface ReadPlace extends LogPlace {
  open?: OpenStep;
  /** It has ended and is too long: how much of it may still be kept, of what follows and of its end. */
  keep?: { head: number; tail: number };
  /** So long already that the rest waits until it has ended. */
  full?: true;
}

/** A step as readers see it: one of the CI, or a group of its lines. */
interface OpenStep {
  id: number;
  name: string;
  system?: boolean;
  command?: string;
}

export const beginning: ReadPlace = { bytes: 0, at: null };

export type ReadStep = StoredStep<ReadPlace>;

/** Entries that continue a log, until they are added to it. */
export interface Draft {
  /** The step, with its place after what was drafted. */
  readonly step: ReadStep;
  /** How many entries there are. */
  readonly count: number;
  /** Enough for an addition. */
  readonly isFull: boolean;
  /** There is nothing to add. */
  readonly isEmpty: boolean;
  /** Opens the step, if it is not. */
  start(): void;
  /** Takes over a part as the CI gave it. Masks it. */
  take(part: LogPart): Promise<void>;
  /** A line of our own. */
  say(text: string): void;
  /** Moves the place by hand. */
  note(place: Partial<ReadPlace>): void;
  /** Closes what is open; `done`: nothing of this step follows. */
  end(done?: boolean): void;
  addition(): Promise<Addition<ReadPlace>>;
}

export interface DraftOptions {
  log: LogState;
  step: ReadStep;
  mask: Mask;
  /** Says to which of several steps a group belongs. */
  label?: string | undefined;
  /** Of the one who drafts; a new one if absent. */
  packer?: ChunkPacker | undefined;
  /** Where the CI shows the build, for who wants what is left out here. */
  url: string | null;
}

/** Begins where a log and one of its steps stand. */
export function draftOf({ log, step: from, mask, label, packer = chunkPacker(), url }: DraftOptions): Draft {
  const { about } = from;
  let { place, done } = from;
  let clock = place.at ?? about.startedAt ?? log.createdAt.getTime();
  let nextId = log.steps;
  let bytes = 0;
  let count = 0;
  const chunks: LogChunk[] = [];
  // What somebody drafted before and did not add is not to be added.
  packer.clear();

  const add = (entry: string): void => {
    packer.add(entry);
    count += 1;
  };
  const pack = async (): Promise<void> => {
    const chunk = await packer.pack();
    if (chunk) chunks.push(chunk);
  };

  const open = (step: Omit<OpenStep, 'id'>): void => {
    place = { ...place, open: { ...step, id: nextId } };
    add(stepStart({ ...step, step: nextId, at: clock }));
    nextId += 1;
  };
  const close = (at: number): void => {
    if (!place.open) return;
    const { open: closed, ...rest } = place;
    place = rest;
    add(stepEnd({ ...closed, step: closed.id, at }));
  };
  const start = (): void => {
    if (place.open) return;
    open({ name: short(about.name), ...(about.command ? { command: short(about.command) } : {}) });
  };
  const line = ({ text: raw, at, group, bytes: length }: LogLine): void => {
    clock = at ?? clock;
    const masked = mask(raw, length !== undefined);
    const text = length === undefined ? masked : cutLine({ text: masked, bytes: length });
    if (group) {
      close(clock);
      open({
        name: label ? `${short(label)} › ${short(text)}` : short(text),
        ...(group === 'system' ? { system: true } : {}),
      });
    } else {
      start();
      add(logLine({ step: place.open?.id ?? 0, text, at: clock }));
    }
  };
  const say = (text: string): void => {
    start();
    for (const one of mask(text).split(/\r?\n|\r/)) add(logLine({ step: place.open?.id ?? 0, text: one, at: clock }));
  };

  return {
    get step() {
      return { ...from, place, done };
    },
    get count() {
      return count;
    },
    get isFull() {
      return chunks.length > 0 || packer.size >= chunkBytes;
    },
    get isEmpty() {
      return count === 0 && place === from.place && done === from.done;
    },
    start,
    async take(part) {
      if (part.again) say('[… the CI began this log again …]');
      if (part.skipped) say(leftOut(part.skipped, url));
      for (const one of part.lines) {
        line(one);
        if (packer.size >= chunkBytes) await pack();
      }
      const raw = Math.max(0, part.place.bytes - (part.again ? 0 : place.bytes) - (part.skipped ?? 0));
      bytes += raw;
      const jumped = part.skipped !== undefined || part.again;
      const { keep } = place;
      place = { ...place, ...part.place };
      if (keep) place.keep = { ...keep, head: jumped ? 0 : Math.max(0, keep.head - raw) };
    },
    say,
    note(more) {
      place = { ...place, ...more };
    },
    end(isDone = true) {
      close(isDone ? Math.max(about.endedAt ?? clock, clock) : clock);
      done = isDone;
    },
    async addition() {
      await pack();
      return { after: log, chunks, bytes, steps: nextId, step: { ...from, place, done } };
    },
  };
}

const leftOut = (bytes: number, url: string | null): string =>
  `[… ${sizeText(bytes)} left out here${url === null ? '' : `; the whole log is at ${url}`} …]`;

/** A number of bytes for people. */
export function sizeText(bytes: number): string {
  if (bytes >= 2 ** 20) return `${Math.round(bytes / 2 ** 20)} MiB`;
  return bytes >= 2 ** 10 ? `${Math.round(bytes / 2 ** 10)} KiB` : `${bytes} bytes`;
}

const longestName = 500;
const short = (text: string): string =>
  text.length > longestName ? `${text.slice(0, longestName).toWellFormed()}…` : text;
