import { followLog, logUrl } from '../../../sim/appview/log-reader.ts';
import type { LogRead } from '../../evidence.ts';
import { drawn } from '../dice.ts';

export interface LogOrder {
  /** `ws://host` of the spindle. */
  url: string;
  log: { knot: string; rkey: string; job: string };
  ms: number;
  breakOff: boolean;
  seed: number;
}

/** Frames after which a reader that breaks off does so, at most. */
const MOST_FRAMES = 60;

/** Reads a log until it ends, until `ms`, or with `breakOff` until it has some of it, and says what it got. */
export function readLog({ url, log, ms, breakOff, seed }: LogOrder): { ended: Promise<LogRead>; close(): void } {
  const { knot, rkey, job } = log;
  const reader = followLog(logUrl(url, knot, rkey, job), { keep: false });
  const enough = breakOff ? 1 + Math.floor(drawn(seed, 'break off', rkey, job) * MOST_FRAMES) : Infinity;
  const ended = (async (): Promise<LogRead> => {
    // In vain is an answer too: what there was until then counts.
    await reader
      .wait(
        ({ closed, refused, frameCount }) => closed !== undefined || refused !== undefined || frameCount >= enough,
        ms,
      )
      .catch(() => {});
    const { lineCount, closed, refused, digest } = reader.view();
    reader.close();
    return { ...log, at: Date.now(), lines: lineCount, closed: refused ?? closed?.code ?? null, digest };
  })();
  return { ended, close: () => reader.close() };
}
