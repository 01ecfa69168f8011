import { ProviderError } from '../providers/errors.ts';
import type { BuildRef, Provider } from '../providers/provider.ts';
import type { AttemptKey } from '../store/builds.ts';
import type { ChunkPacker } from '../store/log-chunks.ts';
import type { Sql } from '../store/db.ts';
import { appendLog, type LogState, openLog, stepsOf } from '../store/logs.ts';
import { beginning, type Draft, draftOf, type ReadStep } from './log-draft.ts';
import type { Mask } from './mask.ts';

/** A log that is being brought home. */
export interface Bringing {
  sql: Sql;
  key: AttemptKey;
  provider: Provider;
  ref: BuildRef;
  mask: () => Mask;
  /** What is kept of the whole log, in the CI's bytes. */
  maxBytes: number;
  packer: ChunkPacker;
  signal: AbortSignal;
  /** As it was when it was last heard of. */
  log: LogState;
}

export interface Manner {
  /** Nothing more will be written to the step's log: read it to its end, and close it. */
  ended: boolean;
  /** Other steps follow, for which there must be room. */
  more: boolean;
  /** There are several steps, so each group says to which it belongs. */
  labelled: boolean;
}

/** A line costs room for its frame, however short it is: a log has at most one for each so many bytes that it may have. */
const bytesPerEntry = 16;
/** Rather wait, or say that something is missing, than read less than this. */
const crumbs = 1024;

/** Brings home what is new of one step. Where somebody else was quicker, goes on from there. */
export async function bringStep(bringing: Bringing, first: ReadStep, manner: Manner): Promise<void> {
  for (let step: ReadStep | undefined = first; step && !step.done && !bringing.log.removed;) {
    step = await readOn(bringing, step, manner);
  }
}

/** Reads a step from its place on. Undefined when that is done; else the step as somebody else has left it. */
async function readOn(bringing: Bringing, from: ReadStep, manner: Manner): Promise<ReadStep | undefined> {
  const { provider, ref, mask, maxBytes, packer, signal } = bringing;
  const label = manner.labelled ? from.about.name : undefined;
  const begin = (step: ReadStep): Draft =>
    draftOf({ log: bringing.log, step, mask: mask(), label, packer, url: ref.url });
  let draft = begin(from);
  let overtaken: ReadStep | undefined;
  /** False when somebody else was quicker. */
  const flush = async (): Promise<boolean> => {
    if (draft.isEmpty) return true;
    const answer = await appendLog(bringing.sql, bringing.key, await draft.addition());
    bringing.log = answer.log ?? { ...bringing.log, removed: true };
    if (!answer.added) overtaken = answer.step;
    else draft = begin(draft.step);
    return answer.added;
  };

  draft.start();
  const { about } = from;
  if (about.remark !== undefined) draft.say(about.remark);
  else if (mayRead(draft, manner, bringing)) {
    const { most, head } = portion(draft, manner, bringing);
    const { place } = draft.step;
    try {
      for await (const part of provider.log(
        ref,
        { step: about, from: place, ended: manner.ended, most, head },
        signal,
      )) {
        await draft.take(part);
        if (bringing.log.entries + draft.count > maxBytes / bytesPerEntry) {
          draft.say('[… the rest of this step is left out here: the log has too many lines …]');
          draft.note({ full: true });
          break;
        }
        if (draft.isFull && !(await flush())) return overtaken;
      }
    } catch (error) {
      // What came before the failure is good; without it a download that always breaks off would never end.
      if (error instanceof ProviderError && !(await flush())) return overtaken;
      throw error;
    }
  }
  if (manner.ended) draft.end();
  return (await flush()) ? undefined : overtaken;
}

/** Whether there is room for more of this step; if not, it says so. */
function mayRead(draft: Draft, manner: Manner, { log, maxBytes }: Bringing): boolean {
  const { full } = draft.step.place;
  const tooMany = log.entries > maxBytes / bytesPerEntry;
  if (!tooMany && roomFor(manner, log, maxBytes) >= crumbs) return manner.ended || !full;
  if (manner.ended) draft.say('[… the rest of this step is left out here: the log is full …]');
  else if (!full) {
    draft.say('[… this log is long: what follows is left out until the step has ended …]');
    draft.note({ full: true });
  }
  return false;
}

/** How much of a step may be read now. While it runs, a part of the room is kept for its end. */
function roomFor({ ended, more }: Manner, { bytes }: LogState, maxBytes: number): number {
  const left = maxBytes - bytes;
  if (!ended) return Math.floor(left - maxBytes / 4);
  return Math.floor(more ? left / 2 : left);
}

/** What is kept of an ended step is decided once, so that whoever goes on after a crash leaves out the same. */
function portion(draft: Draft, manner: Manner, { log, maxBytes }: Bringing): { most: number; head: number } {
  const room = roomFor(manner, log, maxBytes);
  if (!manner.ended) return { most: room, head: Math.floor(room / 2) };
  const head = Math.floor(room / 2);
  const keep = draft.step.place.keep ?? { head, tail: room - head };
  draft.note({ keep });
  return { most: keep.head + keep.tail, head: keep.head };
}

/** A step of our own: it has no log at the CI, but a few lines that we have to say. */
export interface OwnStep {
  /** Once for each. */
  id: string;
  name: string;
  text: string;
}

const ownPrefix = 'whorl/';

export const isOwn = ({ step }: ReadStep): boolean => step.startsWith(ownPrefix);

/** Says something of our own in a log, once. `only`: and only if nothing else is there. */
export async function sayOnce(
  { sql, mask }: Pick<Bringing, 'sql' | 'mask'>,
  key: AttemptKey,
  { id, name, text }: OwnStep,
  only = false,
): Promise<void> {
  const own = ownPrefix + id;
  for (;;) {
    const log = await openLog(sql, key);
    if (!log || log.removed || (only && log.entries > 0)) return;
    const steps: ReadStep[] = await stepsOf(sql, key);
    if (steps.some(({ step }) => step === own)) return;
    const about = { id: own, name, state: 'ended', startedAt: Date.now() } as const;
    const step = { step: own, position: 0, about, place: beginning, done: false };
    const draft = draftOf({ log, step, mask: mask(), url: null });
    draft.start();
    draft.say(text);
    draft.end();
    const { added } = await appendLog(sql, key, await draft.addition());
    if (added) return;
  }
}
