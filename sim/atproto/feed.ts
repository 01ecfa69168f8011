import { random } from '../random.ts';
import { cidOf } from './cid.ts';
import type { Network, NetworkEvent } from './network.ts';

export interface FeedOptions {
  /** 2: frames have `cursor`, a sequence of this host, and `?cursor=` may be one. Default 2 */
  version?: 1 | 2;
  /** how old what is still replayed may be, in ms; default 36 h. 0: no cursor counts */
  lookbackMs?: number;
  /** how far this host's clock is ahead, in ms */
  skewMs?: number;
  /** the events of `windowMs` come in another order, in which only each account's own is kept; the same for each seed */
  shuffle?: { seed: number; windowMs: number };
}

/** What a host stamped: its own time, in µs, and its own number. */
export interface Stamp {
  readonly timeUs: number;
  readonly seq: number;
}

/** A row of a host's log: an event, or a frame that is none. */
export type FeedRow = Stamp & ({ readonly event: NetworkEvent } | { readonly frame: string });

export type Feed = ReturnType<typeof createFeed>;

/** The log of one jetstream host: what it received, in its order, with its stamps. */
export function createFeed(network: Network, options: FeedOptions, grown: () => void) {
  const { version = 2, lookbackMs = 36 * 3_600_000, skewMs = 0, shuffle } = options;
  const next = random(shuffle?.seed ?? 0);
  const rows: FeedRow[] = [];
  const waiting: NetworkEvent[] = [];
  let last = 0;
  let seq = 0;
  let timer: NodeJS.Timeout | undefined;
  let lose: ((event: NetworkEvent) => boolean) | undefined;

  const clock = (): number => network.micros() + skewMs * 1000;
  const stamp = (at: number): Stamp => {
    last = Math.max(at, last + 1);
    return { timeUs: last, seq: ++seq };
  };
  const takeIn = (events: readonly NetworkEvent[], at: (event: NetworkEvent) => number): void => {
    for (const event of events) if (!lose?.(event)) rows.push({ ...stamp(at(event)), event });
  };
  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (waiting.length === 0) return;
    takeIn(mixed(waiting.splice(0), next), clock);
    grown();
  };

  // what happened before this host was started came in as it happened
  const windowUs = (shuffle?.windowMs ?? 0) * 1000;
  for (let from = 0; from < network.events.length;) {
    const start = network.events[from]?.at ?? 0;
    let to = from + 1;
    while (to < network.events.length && (network.events[to]?.at ?? 0) - start < windowUs) to++;
    takeIn(mixed(network.events.slice(from, to), next), ({ at }) => at + skewMs * 1000);
    from = to;
  }

  const stop = network.listen((event) => {
    if (!shuffle) {
      takeIn([event], clock);
      return grown();
    }
    waiting.push(event);
    timer ??= setTimeout(flush, shuffle.windowMs);
  });

  const indexOf = (fits: (row: FeedRow) => boolean): number => {
    let [low, high] = [0, rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const row = rows[middle];
      if (row && fits(row)) high = middle;
      else low = middle + 1;
    }
    return low;
  };

  return {
    version,
    /** everything that this host still has, in its order */
    rows: rows as readonly FeedRow[],
    /** the number of the next event */
    nextSeq: (): number => seq + 1,

    /** The number from which a dial with this cursor is served; undefined if the cursor is none. */
    start(cursor: string | undefined): number | undefined {
      const live = seq + 1;
      if (lookbackMs <= 0 || cursor === undefined || cursor === '') return live;
      if (!/^\d{1,19}$/.test(cursor)) return undefined;
      const value = Number(cursor);
      if (value > clock() || (version === 2 && value < LEAST_TIME && value >= live)) return live;
      const oldest = clock() - lookbackMs * 1000;
      const wanted = version === 2 && value < LEAST_TIME ? (row: FeedRow) => row.seq >= value : undefined;
      const row = rows[indexOf((row) => row.timeUs >= oldest && (wanted?.(row) ?? row.timeUs >= value))];
      return row?.seq ?? live;
    },
    /** Up to `count` rows from this number on. */
    from(number: number, count: number): FeedRow[] {
      const index = Math.max(0, number - (rows[0]?.seq ?? number));
      return rows.slice(index, index + count);
    },
    /** What a subscriber gets for a row. */
    text: (row: FeedRow): string => ('frame' in row ? row.frame : frameText(row.event, row, version)),
    /** Puts a frame of any content into the log, with a stamp. */
    store(frame: (stamp: Stamp) => string): void {
      const stamped = stamp(clock());
      rows.push({ ...stamped, frame: frame(stamped) });
      grown();
    },
    /** Events that are `lost` never come in here. */
    lose(lost: ((event: NetworkEvent) => boolean) | undefined): void {
      lose = lost;
    },
    /** Ends the current window of the shuffle now. */
    flush,
    /** Forgets everything so far. */
    forget(): void {
      flush();
      rows.length = 0;
    },
    stop(): void {
      stop();
      clearTimeout(timer);
    },
  };
}

/** smaller cursors are sequences (jetstream, `internal/subscribe/cursor.go`) */
const LEAST_TIME = 1e15;

function frameText(event: NetworkEvent, { timeUs, seq }: Stamp, version: 1 | 2): string {
  const head = { did: event.did, time_us: timeUs, ...(version === 2 && { cursor: seq }), kind: event.kind };
  const time = new Date(event.at / 1000).toISOString();
  switch (event.kind) {
    case 'commit': {
      const { rev, operation, collection, rkey, record } = event.commit;
      const what = { rev, operation, collection, rkey };
      const more = operation === 'delete' ? {} : { record: sorted(record), cid: cidOf(record) };
      return JSON.stringify({ ...head, commit: { ...what, ...more } });
    }
    case 'identity':
      return JSON.stringify({
        ...head,
        identity: { did: event.did, handle: event.handle, seq: event.seq, time },
      });
    case 'account': {
      const active = event.status === 'active';
      const status = active ? {} : { status: event.status };
      return JSON.stringify({ ...head, account: { active, did: event.did, seq: event.seq, ...status, time } });
    }
  }
}

/** Go's encoder sorts the keys of a map. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, item]) => [key, sorted(item)]));
}

/** Another order in which the events of each account keep theirs. */
function mixed(events: NetworkEvent[], next: () => number): NetworkEvent[] {
  if (events.length < 2) return events;
  const queues = new Map<string, NetworkEvent[]>();
  for (const event of events) {
    const queue = queues.get(event.did);
    if (queue) queue.push(event);
    else queues.set(event.did, [event]);
  }
  const left = [...queues.values()].map((queue) => ({ queue, at: 0 }));
  const order: NetworkEvent[] = [];
  while (left.length > 0) {
    const chosen = Math.floor(next() * left.length);
    const one = left[chosen];
    const event = one?.queue[one.at++];
    if (event) order.push(event);
    else left.splice(chosen, 1);
  }
  return order;
}
