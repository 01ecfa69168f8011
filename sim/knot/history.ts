import { eventTime, parseFrame } from '../../src/forges/tangled/frame.ts';
import { tidAt, tidMaker, tidTime } from '../../src/forges/tangled/tid.ts';

/** A: the Go knots of 2025. B: those of 2026, with `created` in the envelope. */
export type Generation = 'A' | 'B';

export type KnotRow = {
  /** when the knot stored it, in nanoseconds; what a cursor is compared with */
  created: bigint;
  nsid: string;
  rkey: string;
  /** JSON text of the event */
  event: string;
  /** the whole frame as it was captured, if it was */
  line?: string;
};

/** a knot takes a TID first, and stores the row a moment later; a cursor made of TIDs must bear that */
const STORE_LAG = 400_000n;

export type History = ReturnType<typeof createHistory>;

/** The event table of a knot: (nsid, rkey) is unique, `created` grows with each insert by its own clock. */
export function createHistory(now: () => bigint, earlier: readonly KnotRow[] = []) {
  const rows: KnotRow[] = [];
  const keys = new Set<string>();
  const nextTid = tidMaker(() => tidAt(now()));
  let last = 0n;

  const add = (row: KnotRow): boolean => {
    const key = `${row.nsid} ${row.rkey}`;
    if (keys.has(key)) return false;
    keys.add(key);
    rows.push(row);
    // rows come nearly always in order, so the search for the place starts at the end
    for (let i = rows.length - 1; i > 0; i--) {
      const [before, after] = [rows[i - 1], rows[i]];
      if (!before || !after || before.created <= after.created) break;
      [rows[i - 1], rows[i]] = [after, before];
    }
    return true;
  };
  for (const row of earlier) add(row);

  return {
    rows: rows as readonly KnotRow[],
    nextTid,

    /** Stores an event now; its rkey may carry any time, its `created` is the knot's own. */
    insert(nsid: string, event: unknown, rkey?: string): KnotRow {
      const key = rkey ?? nextTid();
      const own = rkey === undefined ? (tidTime(key) ?? 0n) + STORE_LAG : 0n;
      last = [now(), own, last + 1n].reduce((a, b) => (a > b ? a : b));
      const row = { created: last, nsid, rkey: key, event: JSON.stringify(event) ?? 'null' };
      if (!add(row)) throw new Error(`the knot already has ${nsid} ${key}; a second one needs its own rkey`);
      return row;
    },

    /** Stores a captured frame as it is; false if its key is there already. `created` is the time of its rkey, or now. */
    insertLine(line: string, at: 'captured' | 'now'): boolean {
      const frame = parseFrame(line);
      if ('problem' in frame) throw new Error(`this captured line is no frame: ${frame.problem}`);
      const time = at === 'captured' ? eventTime(frame) : undefined;
      if (time === undefined) {
        const clock = now();
        last = clock > last ? clock : last + 1n;
      }
      const { nsid, rkey, event } = frame;
      return add({ created: time ?? last, nsid, rkey, event: JSON.stringify(event), line });
    },

    /** The rows with `created > cursor`, oldest first. */
    after(cursor: bigint, limit: number): KnotRow[] {
      let [low, high] = [0, rows.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if ((rows[middle]?.created ?? 0n) > cursor) high = middle;
        else low = middle + 1;
      }
      return rows.slice(low, low + limit);
    },

    /** "From now on": nothing stored so far is later, everything stored from here on is. */
    present(): bigint {
      const clock = now();
      if (clock > last) last = clock;
      return last;
    },
  };
}

/** The frame that a knot sends for a row. */
export function frameText(row: KnotRow, generation: Generation): string {
  const nsid = JSON.stringify(row.nsid);
  const rkey = JSON.stringify(row.rkey);
  if (generation === 'B') return `{"rkey":${rkey},"nsid":${nsid},"event":${row.event},"created":${row.created}}`;
  return row.line ?? `{"event":${row.event},"nsid":${nsid},"rkey":${rkey}}`;
}
