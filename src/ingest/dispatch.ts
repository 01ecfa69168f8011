import { shares } from '../pipeline/share.ts';
import { type Listener, listen } from '../store/listen.ts';
import { nextDue } from '../store/work.ts';
import type { DispatchDeps } from './dispatch-deps.ts';
import { allKinds, dispatchShare, type Share } from './dispatch-share.ts';
import type { Lease, Running } from './leases.ts';

export const dispatchSources = (): string[] => Array.from({ length: shares }, (_, share) => `dispatch/${share}`);

export interface Dispatcher {
  /** Carries one share, `dispatch/<n>`, of what waits in the inbox to Temporal, as long as the lease is ours. */
  start(source: string, lease: Lease): Running;
}

/** The shortest pause between two looks at what is due. */
const restMs = 20;
const retryMs = 1_000;

/**
 * The shares of this process. They are woken by notices, over one connection for all; and, since a notice can be lost,
 * by one statement every now and then that says for all of them what is due, and when there will be more.
 */
export function dispatcher(deps: DispatchDeps): Dispatcher {
  const { sql, log, pollEveryMs = 10_000 } = deps;
  const held = new Map<number, Share>();
  let listener: Listener | undefined;
  let timer: NodeJS.Timeout | undefined;
  let timerAt = Infinity;
  let looking = false;
  let again = false;

  /** Looks at the latest then; an earlier look is as good. */
  const lookIn = (ms: number): void => {
    const at = performance.now() + ms;
    if (at >= timerAt) return;
    clearTimeout(timer);
    timerAt = at;
    timer = setTimeout(look, ms);
  };

  function look(): void {
    clearTimeout(timer);
    timerAt = Infinity;
    if (held.size === 0) return;
    again = looking;
    if (looking) return;
    looking = true;
    void wakeWhatIsDue().then((ms) => {
      looking = false;
      if (held.size > 0) lookIn(again ? restMs : ms);
    });
  }

  /** How long to wait before the next look, ms. */
  const wakeWhatIsDue = async (): Promise<number> => {
    try {
      const waiting = await nextDue(sql, [...held.keys()]);
      for (const { share, kind, inMs } of waiting) if (inMs <= 0) held.get(share)?.wake([kind]);
      const later = waiting.flatMap(({ inMs }) => (inMs > 0 ? [inMs] : []));
      return Math.min(pollEveryMs, Math.max(restMs, Math.ceil(Math.min(...later))));
    } catch (error) {
      log.warn({ err: error }, 'dispatch cannot see what is due');
      return retryMs;
    }
  };

  const heed = (payload: string): void => {
    // Listening began (again), and what was told meanwhile is lost.
    if (payload === '') return look();
    const [share, kind] = payload.split(' ');
    const one = held.get(Number(share));
    if (kind === 'steps') one?.wakeForStep();
    else if (kind === 'deliveries') one?.wakeForDelivery();
    else one?.wake(allKinds.filter((known) => known === kind || kind === undefined));
  };

  return {
    start(source, lease) {
      const number = Number(source.slice('dispatch/'.length));
      const share = dispatchShare(deps, number, lease, lookIn);
      held.set(number, share);
      listener ??= listen(sql, ['inbox'], (_channel, payload) => heed(payload));
      // Shares are taken in crowds.
      lookIn(0);
      return {
        async stop() {
          if (held.get(number) === share) held.delete(number);
          const last = held.size === 0 ? listener : undefined;
          if (last) {
            listener = undefined;
            clearTimeout(timer);
            timerAt = Infinity;
          }
          await Promise.all([last?.close(), share.stop()]);
        },
      };
    },
  };
}
