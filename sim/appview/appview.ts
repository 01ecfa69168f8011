import { parseFrame } from '../../src/forges/tangled/frame.ts';
import { parsePipeline } from '../../src/forges/tangled/trigger.ts';
import { createBook, type Outcome, type PipelineView } from './book.ts';
import { type Reader, startReader } from './reader.ts';

export type AppviewOptions = {
  /** `ws://host`, `http://host` or either with `/events`; the host is the spindle's name */
  spindleUrl: string;
  /**
   * Where the appview knows pipelines from: `/events` URLs (or hosts) of knots, which it reads as it reads the spindle,
   * or a function. Without it, only from `learn`.
   */
  pipelinesFrom?: readonly string[] | ((knot: string, rkey: string) => boolean);
  /** pause before it dials again, in ms; default 60 s, as a real one. Failed dials double it up to two hours */
  redialMs?: number;
  maxRedialMs?: number;
  /** how far its clock is ahead, in ms */
  clockSkew?: number;
  /** reruns happen, so an ended job may start again without being a problem */
  reopenings?: boolean;
  /** called for every frame of the spindle */
  onFrame?: (outcome: Outcome, text: string) => void;
};

export type AppviewSim = ReturnType<typeof startAppview>;

/** Starts a strict reader of a spindle's `/events`, which shows what a user of a real appview would see. */
export function startAppview(options: AppviewOptions) {
  const { pipelinesFrom = [], redialMs = 60_000, maxRedialMs = 7_200_000, clockSkew = 0, reopenings = false } = options;
  const now = (): number => Date.now() + clockSkew;
  const book = createBook({ now, reopenings, ...(typeof pipelinesFrom === 'function' && { knows: pipelinesFrom }) });
  const dials: { cursor: string | undefined; at: number }[] = [];
  const frames: string[] = [];
  const changed = new Set<() => void>();
  const tell = (): void => changed.forEach((check) => check());
  let links = 0;
  const spindle = eventsUrl(options.spindleUrl);

  const reader = startReader({
    url: spindle.href,
    now,
    redialMs,
    maxRedialMs,
    onDial: (cursor) => dials.push({ cursor, at: Date.now() }),
    onOpen() {
      links++;
      tell();
    },
    onFrame(text) {
      frames.push(text);
      const outcome = book.receive(spindle.host, text);
      options.onFrame?.(outcome, text);
      tell();
    },
  });

  const knotHosts = typeof pipelinesFrom === 'function' ? [] : pipelinesFrom;
  let knotLinks = 0;
  const knots: Reader[] = knotHosts.map((knot) =>
    startReader({
      url: eventsUrl(knot).href,
      now,
      redialMs,
      maxRedialMs,
      onOpen() {
        knotLinks++;
        tell();
      },
      onFrame(text) {
        const frame = parseFrame(text);
        if ('problem' in frame || frame.nsid !== 'sh.tangled.pipeline') return;
        const pipeline = parsePipeline(frame.event);
        if (pipeline.ok) book.learn(pipeline.trigger.repo.knot, frame.rkey);
        tell();
      },
    }),
  );

  /** Resolves when `done` is true; it is asked again after each frame. Rejects after `ms`, saying what is there. */
  const until = (done: () => boolean, ms: number, state: () => unknown): Promise<void> =>
    new Promise((resolve, reject) => {
      const check = (): void => {
        if (!done()) return;
        clearTimeout(timer);
        changed.delete(check);
        resolve();
      };
      const timer = setTimeout(() => {
        changed.delete(check);
        reject(
          new Error(
            `the appview waited ${ms} ms in vain; it has ${JSON.stringify({ state: state(), problems: book.problems() }, null, 2)}`,
          ),
        );
      }, ms);
      changed.add(check);
      check();
    });

  return {
    view: (knot: string, rkey: string): PipelineView => book.view(knot, rkey),
    pipelines: book.pipelines,
    learn: book.learn,
    /** rule violations in words; empty for a spindle that does everything right */
    get problems(): string[] {
      return book.problems();
    },
    /** statuses stored, repeated (same rkey), and lost */
    counts: book.counts,
    /** every frame of the spindle, in order of arrival */
    frames: frames as readonly string[],
    /** every dial of the spindle, with its cursor */
    dials: dials as readonly { cursor: string | undefined; at: number }[],

    /** Resolves when the spindle has accepted `count` links since the start, and each knot one. */
    connected: (count = 1, ms = 10_000): Promise<void> =>
      until(
        () => links >= count && knotLinks >= knots.length,
        ms,
        () => ({ links, knotLinks }),
      ),
    /** Resolves with the first view of this pipeline that `done` accepts. */
    async wait(knot: string, rkey: string, done: (view: PipelineView) => boolean, ms = 10_000): Promise<PipelineView> {
      const view = (): PipelineView => book.view(knot, rkey);
      await until(() => done(view()), ms, view);
      return view();
    },
    /** Breaks the link; it dials again after `redialMs`, with its clock at the last message as cursor. */
    disconnect: (): void => reader.disconnect(),
    /** Takes no more frames off its socket, as a stuck reader. */
    stall: (): void => reader.stall(),
    resume: (): void => reader.resume(),
    close(): void {
      reader.close();
      for (const knot of knots) knot.close();
    },
  };
}

function eventsUrl(text: string): URL {
  const url = new URL(text.includes('://') ? text.replace(/^http/, 'ws') : `ws://${text}`);
  if (url.pathname === '/') url.pathname = '/events';
  return url;
}
