import { setTimeout as delay } from 'node:timers/promises';
import type { World } from '../contract.ts';

/** Waits; ends at once when the run does. */
export async function pause(world: World, ms: number): Promise<void> {
  await delay(ms, undefined, { signal: world.signal }).catch(() => {});
}

export interface Booking {
  fault: string;
  /** A process, a link or a service. */
  target: string;
  about: string;
}

/** Books what is done as one thing, also when it fails on the way. `act` says false when there was nothing to do it to. */
export async function booked(world: World, booking: Booking, act: () => Promise<boolean | void>): Promise<number> {
  const from = Date.now();
  let done: boolean | void = true;
  try {
    done = await act();
  } finally {
    if (done !== false) world.disturbed({ ...booking, from, to: Date.now() });
  }
  return done === false ? 0 : 1;
}

export interface Stretch extends Booking {
  ms: number;
}

/** How often, and how far apart in ms, something is taken off again that resists. */
const offTries = 40;
const offEvery = 500;

/**
 * Puts something on for a while and takes it off again, whatever happens meanwhile. Also what failed to go on is taken
 * off: it may have gone on before its answer was lost. Throws when it could not be taken off.
 */
export async function during(
  world: World,
  { ms, ...stretch }: Stretch,
  on: () => unknown,
  off: () => unknown,
): Promise<void> {
  const from = Date.now();
  try {
    await on();
    await pause(world, ms);
  } finally {
    try {
      await insist(off);
    } finally {
      world.disturbed({ ...stretch, from, to: Date.now() });
    }
  }
}

async function insist(off: () => unknown): Promise<void> {
  for (let n = 1; ; n += 1) {
    try {
      await off();
      return;
    } catch (error) {
      if (n === offTries) throw error;
      await delay(offEvery);
    }
  }
}
