/** Something with bytes that are ready to pass. */
export interface Sender {
  /** Passes at most so many bytes; how many it did. Fewer than it was offered: it has no more, or cannot pass them now. */
  send(bytes: number): number;
  /** Called when there is no limit any more. */
  free(): void;
}

/** A limit of bytes a second that all connections of a link share in one direction. */
export interface Throttle {
  readonly on: boolean;
  set(bytesPerSecond: number): void;
  /** Waits for its turn; whoever waits already goes first. Joining twice is joining once. */
  join(sender: Sender): void;
  leave(sender: Sender): void;
}

const tickMs = 20;
/** What one sender passes before the next one has its turn: about a packet. */
const slice = 1_400;

export function createThrottle(): Throttle {
  let rate = Number.POSITIVE_INFINITY;
  let budget = 0;
  let last = 0;
  let timer: NodeJS.Timeout | undefined;
  // a set keeps the order in which they came
  const waiting = new Set<Sender>();

  const limited = (): boolean => rate !== Number.POSITIVE_INFINITY;

  const tick = (): void => {
    const now = performance.now();
    // Less than a byte a tick adds up; more than a tenth of a second's worth is never passed at once.
    budget = Math.min(budget + (rate * (now - last)) / 1000, Math.max(1, rate / 10));
    last = now;
    while (budget >= 1) {
      const [sender] = waiting;
      if (!sender) break;
      waiting.delete(sender);
      const offered = Math.min(slice, Math.floor(budget));
      const sent = sender.send(offered);
      budget -= sent;
      if (sent === offered) waiting.add(sender);
    }
    if (waiting.size === 0) stop();
  };
  const stop = (): void => {
    clearInterval(timer);
    timer = undefined;
  };

  return {
    get on() {
      return limited();
    },
    set(bytesPerSecond) {
      rate = bytesPerSecond;
      budget = 0;
      if (limited()) return;
      stop();
      const senders = [...waiting];
      waiting.clear();
      for (const sender of senders) sender.free();
    },
    join(sender) {
      waiting.add(sender);
      if (timer) return;
      last = performance.now();
      timer = setInterval(tick, tickMs);
    },
    leave(sender) {
      waiting.delete(sender);
      if (waiting.size === 0) stop();
    },
  };
}
