import { startReader } from '../../sim/appview/reader.ts';
import type { ReadersControl } from '../contract.ts';
import type { Frame, LogRead } from '../evidence.ts';
import { serve } from '../remote.ts';
import { frameOf } from './readers/frame.ts';
import { readLog } from './readers/log.ts';
import { startWild, type WildReader } from './readers/wild.ts';

/** Between two dials of a reader. A real appview waits a minute. */
const REDIAL_MS = 500;

let url = '';
let wild: WildReader[] = [];
let seed = 0;
const ends = new Set<() => void>();
const taken: { frames: Frame[]; logReads: LogRead[] } = { frames: [], logReads: [] };

serve<ReadersControl>({
  async start(options) {
    ({ url, seed } = options);
    const events = `${url.replace(/\/$/, '')}/events`;
    let connection = 0;
    const faithful = startReader({
      url: events,
      now: Date.now,
      redialMs: REDIAL_MS,
      maxRedialMs: REDIAL_MS,
      onOpen: () => void connection++,
      onFrame: (text) => void taken.frames.push(frameOf('faithful', text, connection)),
    });
    ends.add(() => faithful.close());
    // The history that a wild reader asks for again and again would fill the memory: its repeats are left out.
    const seen = new Set<string>();
    wild = Array.from({ length: options.wild }, (_, n) =>
      startWild({
        url: events,
        seed,
        name: `wild-${n + 1}`,
        redialMs: REDIAL_MS,
        onFrame(name, text) {
          if (seen.has(text)) return;
          seen.add(text);
          taken.frames.push(frameOf(name, text));
        },
      }),
    );
    for (const reader of wild) ends.add(reader.close);
  },
  wild(reader, what, ms) {
    const one = wild[reader % Math.max(1, wild.length)];
    if (what === 'stall') one?.stall(ms);
    else one?.jump();
  },
  readLog(log, ms, breakOff) {
    const { ended, close } = readLog({ url, log, ms, breakOff, seed });
    ends.add(close);
    void ended.then((read) => {
      ends.delete(close);
      taken.logReads.push(read);
    });
  },
  take: () => ({ frames: taken.frames.splice(0), logReads: taken.logReads.splice(0) }),
  async stop() {
    for (const end of ends) end();
    ends.clear();
  },
});
