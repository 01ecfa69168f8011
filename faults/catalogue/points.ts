import type { Fate, Link, Member, Point, RoleName, World } from '../contract.ts';
import type { Draws } from '../random.ts';
import { pause } from './during.ts';

/** How long a point is waited for, ms. */
export const patienceMs = 10_000;

/**
 * Makes that happen what a point is in, and gives what ends it, if it has to be ended. `waiting`: whether anybody still
 * waits for it.
 */
export type Cause = (
  world: World,
  roll: Draws,
  waiting: () => boolean,
) => Promise<(() => Promise<unknown>) | undefined>;

/** A place in a conversation of one role's processes. */
export interface Moment {
  /** In words, for the log. */
  name: string;
  role: RoleName;
  match: RegExp;
  /** Default: it happens by itself, all the time. */
  cause?: Cause;
  /** Default 10 s. */
  patienceMs?: number;
}

export type LinkKind = 'postgres' | 'temporal' | 'ci';

export interface Hit {
  member: Member;
  link: Link;
  /** What was there: a statement, a request, a method. */
  what: string;
}

/**
 * Waits at a point of the processes of a role. At the first of them that comes there `decide` is asked, once; the others
 * pass. Undefined: nobody came there in time.
 */
export async function waitAt(
  world: World,
  kind: LinkKind,
  when: Point['when'],
  { role, match, cause, patienceMs: patience = patienceMs }: Moment,
  roll: Draws,
  decide: (hit: Hit) => Fate,
  what: Point['what'] = kind === 'postgres' ? 'write' : 'call',
): Promise<Hit | undefined> {
  let first: Hit | undefined;
  const armed = world.members.flatMap((member) => {
    const link = member.role === role ? member.links[kind] : undefined;
    if (!link) return [];
    return link.arm({ when, what, match }, (text) => {
      if (first) return 'pass';
      first = { member, link, what: text };
      return decide(first);
    });
  });
  let over = false;
  let end: (() => Promise<unknown>) | undefined;
  let failed: Error | undefined;
  const caused = cause?.(world, roll, () => !first && !over && !world.signal.aborted).then(
    (undo) => (end = undo),
    (error: unknown) => (failed = error instanceof Error ? error : new Error(String(error))),
  );
  try {
    await Promise.race([...armed.map(({ hit }) => hit), pause(world, patience)]);
  } finally {
    over = true;
    for (const one of armed) one.disarm();
    await caused;
    await end?.();
  }
  if (!first && failed) throw failed;
  return first;
}
