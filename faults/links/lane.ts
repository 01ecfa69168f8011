import type { Socket } from 'node:net';
import { createThrottle, type Throttle } from './throttle.ts';

/** What a link does to everything that it carries, as it is at the moment. */
export interface Conduct {
  delayMs: number;
  readonly forth: Throttle;
  readonly back: Throttle;
}

export const createConduct = (): Conduct => ({ delayMs: 0, forth: createThrottle(), back: createThrottle() });

/** One direction of a connection, from what was read on one socket to what is written to the other. */
export interface Lane {
  /** Bytes, in order; the end of the stream (FIN); or its break (RST), which overtakes nothing either. */
  pass(what: Buffer | 'end' | 'reset'): void;
  /** What is passed from now on goes on in so many ms at the earliest. */
  later(ms: number): void;
  /** Looks again, after the link's conduct has changed. */
  pump(): void;
  /** Passes nothing more, and reads nothing more. */
  stop(): void;
}

type Item = { what: Buffer | 'end' | 'reset'; came: number; notBefore: number };

/** So much may wait in a lane before its source is not read any more; less when it is slow, so that the source feels it. */
const delayed = 1 << 20;
const throttled = 1 << 16;

export function createLane(from: Socket, to: Socket, conduct: Conduct, throttle: Throttle): Lane {
  const queue: Item[] = [];
  let waiting = 0;
  let notBefore = 0;
  let blocked = false;
  let paused = false;
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;

  const flow = (): void => {
    const pause = blocked || waiting > (throttle.on ? throttled : delayed);
    if (pause === paused || stopped) return;
    paused = pause;
    if (paused) from.pause();
    else from.resume();
  };

  const out = (what: Item['what']): void => {
    if (what === 'reset') to.resetAndDestroy();
    else if (!to.writable) return;
    else if (what === 'end') to.end();
    else if (!to.write(what)) {
      blocked = true;
      flow();
    }
  };

  const pump = (): void => {
    clearTimeout(timer);
    for (let head = queue[0]; head && !blocked && !stopped; head = queue[0]) {
      const wait = Math.max(head.came + conduct.delayMs, head.notBefore) - performance.now();
      if (wait > 0) {
        timer = setTimeout(pump, Math.ceil(wait));
        break;
      }
      if (throttle.on && typeof head.what !== 'string') {
        throttle.join(sender);
        break;
      }
      queue.shift();
      if (typeof head.what !== 'string') waiting -= head.what.length;
      out(head.what);
    }
    flow();
  };

  const sender = {
    send(bytes: number): number {
      const [head] = queue;
      if (!head || typeof head.what === 'string' || blocked || stopped) return 0;
      const part = head.what.subarray(0, bytes);
      head.what = head.what.subarray(part.length);
      waiting -= part.length;
      out(part);
      if (head.what.length > 0) return part.length;
      queue.shift();
      // joins again, behind the others, if there is more
      pump();
      return part.length;
    },
    free: pump,
  };

  const drained = (): void => {
    blocked = false;
    pump();
  };
  to.on('drain', drained);

  return {
    pass(what) {
      if (stopped) return;
      const came = performance.now();
      const free = queue.length === 0 && !blocked && conduct.delayMs === 0 && notBefore <= came;
      if (free && (!throttle.on || typeof what === 'string')) {
        out(what);
        return;
      }
      queue.push({ what, came, notBefore });
      if (typeof what !== 'string') waiting += what.length;
      if (queue.length === 1) pump();
      else flow();
    },
    later(ms) {
      notBefore = Math.max(notBefore, performance.now() + ms);
    },
    pump,
    stop() {
      stopped = true;
      queue.length = 0;
      clearTimeout(timer);
      throttle.leave(sender);
      to.off('drain', drained);
      from.pause();
    },
  };
}
