import type { DueAccount } from '../store/accounts.ts';

export interface AccountQueue {
  /** A look at what is due begins now: what ends from here on may still be in its answer. */
  looking(): void;
  /** All that is due, the most urgent first, in the place of what waited before. */
  offer(due: readonly DueAccount[]): void;
  /** Resolves when nothing is under way any more. */
  idle(): Promise<void>;
}

export interface QueueOptions {
  /** Members' accounts under way at once; the owner's never waits for them. */
  concurrency: number;
  /** Of these on one host: more would only wait for each other. */
  perHost: number;
  /** Where an account lives, as far as that is known. */
  hostOf(did: string): string | undefined;
  /**
   * Does the work; never rejects. It says on which host it is as soon as it knows: false means that this host has
   * enough to do, and that the account waits for another turn.
   */
  work(account: DueAccount, enter: (host: string) => boolean): Promise<void>;
  /** Nothing begins after this. */
  signal: AbortSignal;
}

/** Several accounts at once, so that a host that is slow, or hangs, holds back its own accounts and no others. */
export function accountQueue({ concurrency, perHost, hostOf, work, signal }: QueueOptions): AccountQueue {
  let waiting = new Map<string, DueAccount>();
  const running = new Map<string, Promise<void>>();
  const settled = new Set<string>();
  /** How many members' accounts are under way on each host. */
  const busy = new Map<string, number>();
  let members = 0;

  const isBusy = (host: string | undefined): boolean => host !== undefined && (busy.get(host) ?? 0) >= perHost;

  const beginWhatCan = (): void => {
    for (const account of waiting.values()) {
      const { did, owner } = account;
      if (signal.aborted) return;
      if (running.has(did)) continue;
      if (!owner && (members >= concurrency || isBusy(hostOf(did)))) continue;
      waiting.delete(did);
      running.set(did, run(account));
    }
  };

  const run = async (account: DueAccount): Promise<void> => {
    const { did, owner } = account;
    let on: string | undefined;
    let refused = false;
    if (!owner) members++;
    await work(account, (host) => {
      if (owner) return true;
      refused = isBusy(host);
      if (refused) return false;
      on = host;
      busy.set(host, (busy.get(host) ?? 0) + 1);
      return true;
    });
    if (!owner) members--;
    if (on !== undefined) {
      const left = (busy.get(on) ?? 1) - 1;
      if (left > 0) busy.set(on, left);
      else busy.delete(on);
    }
    running.delete(did);
    if (refused) waiting.set(did, account);
    else {
      // a look that was made meanwhile found it as it was before
      waiting.delete(did);
      settled.add(did);
    }
    beginWhatCan();
  };

  return {
    looking: () => settled.clear(),
    offer(due) {
      waiting = new Map(due.filter(({ did }) => !settled.has(did)).map((account) => [account.did, account]));
      beginWhatCan();
    },
    async idle() {
      while (running.size > 0) await Promise.all(running.values());
    },
  };
}
