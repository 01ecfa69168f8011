/** Lets tests wait for the thing itself: whoever changes the world calls `notify`, and `until` looks again. */
export interface Signal {
  notify(): void;
  /**
   * Resolves with the first value of `check` that is neither false, null nor undefined. Rejects after `timeout` ms with
   * `what` in the message, and at once when the simulator closes.
   */
  until<T>(check: () => T | undefined | null | false, what: string, timeout?: number): Promise<T>;
  close(): void;
}

/** Makes a signal with nobody waiting. */
export function createSignal(): Signal {
  const waiting = new Set<() => void>();
  const aborts = new Set<() => void>();
  return {
    notify() {
      for (const look of waiting) look();
    },
    until(check, what, timeout = 10_000) {
      return new Promise((resolve, reject) => {
        const settle = (act: () => void): void => {
          waiting.delete(look);
          aborts.delete(abort);
          clearTimeout(timer);
          act();
        };
        const look = (): void => {
          try {
            const found = check();
            if (found !== undefined && found !== null && found !== false) settle(() => resolve(found));
          } catch (error) {
            settle(() => reject(error));
          }
        };
        const abort = (): void => settle(() => reject(new Error(`the simulator closed while waiting for ${what}`)));
        const timer = setTimeout(
          () => settle(() => reject(new Error(`waited ${timeout} ms in vain for ${what}`))),
          timeout,
        );
        waiting.add(look);
        aborts.add(abort);
        look();
      });
    },
    close() {
      for (const abort of aborts) abort();
    },
  };
}

/** A door that is closed until it is opened, once. */
export interface Gate {
  readonly opened: Promise<void>;
  readonly isOpen: boolean;
  open(): void;
}

/** Makes a closed gate. */
export function createGate(): Gate {
  const { promise, resolve } = Promise.withResolvers<void>();
  let isOpen = false;
  return {
    opened: promise,
    get isOpen() {
      return isOpen;
    },
    open() {
      isOpen = true;
      resolve();
    },
  };
}
