import { nearest } from '../src/config/nearest.ts';
import { catalogue } from './catalogue/index.ts';
import type { Action, Fault, Scale } from './contract.ts';
import { type Draws, draws } from './random.ts';

export interface PlanOptions {
  /** For so long pushes come in, ms. */
  durationMs: number;
  scale: Scale;
  /** Names; default all. */
  only?: readonly string[];
  /** Default: the whole catalogue. */
  from?: readonly Fault[];
}

/** Between two actions, of all faults together and of one kind, on average, ms. */
const betweenAll = 1_200;
const betweenSame = 5_000;
/** The same in a run of mass: each process that starts again costs a small machine some seconds, and the backlog would only grow. */
const betweenLong = 4_000;
const longRunMs = 30 * 60_000;
/** Closer together when a run is too short for each kind to be there once; what is left out then is drawn. */
const betweenFirst = 700;
/** Nothing begins so late, nor so early: there must be something that it can be done to. Heavy ones let more come in first. */
const lastMs = 5_000;
const firstMs = { light: 8_000, heavy: 20_000 };
/** In short runs the beginning is no more than this part. */
const firstShare = { light: 1 / 12, heavy: 1 / 6 };
/** What lasts no longer than this may outlast the pushes. */
const shortMs = 12_000;
/** What lasts as long as this begins in the first half. */
const longMs = 30_000;
/** The part of the time that one heavy kind may take. */
const heavyShare = 0.1;
/** How many numbers each action has for its choices. */
const diceOfAction = 8;
/** Random places that are tried for an action. */
const tries = 40;
/** How often all kinds are laid out, if there was no room left for one. */
const layouts = 20;

interface Placed {
  fault: Fault;
  at: number;
  /** When it is over at the latest. */
  to: number;
}

/**
 * What is to be done, and when: the same for the same seed. Each kind is there once, if there is room for it, and the
 * rest is drawn by weight. Kinds of one group never overlap, heavy ones hardly. Throws for a name that is none.
 */
export function planOf(seed: number, { durationMs, scale, only, from = catalogue }: PlanOptions): Action[] {
  const draw = draws(seed, 'plan');
  const able = chosen(from, only).filter((fault) => latest(fault, durationMs, scale) >= earliest(fault, durationMs));
  const kinds = shuffled(able, draw).slice(0, Math.floor(durationMs / betweenFirst));
  const placed: Placed[] = [];

  const put = (fault: Fault, at: number, heavy: number): boolean => {
    const one = { fault, at, to: at + fault.lasts(scale) };
    const fits = hasRoom(placed, one, heavy);
    if (fits) placed.push(one);
    return fits;
  };
  const place = (fault: Fault, heavy: number): boolean => {
    const [begin, end] = [earliest(fault, durationMs), latest(fault, durationMs, scale)];
    for (let n = 0; n < tries; n += 1) if (put(fault, draw.whole(begin, end), heavy)) return true;
    return false;
  };
  /** Takes the first place where there is room, if there is any. */
  const squeeze = (fault: Fault): boolean => {
    const end = latest(fault, durationMs, scale);
    for (let at = earliest(fault, durationMs); at <= end; at += 250) if (put(fault, at, 2)) return true;
    return false;
  };
  // What lasts longest comes first, while there is much room.
  const longestFirst = kinds.toSorted((a, b) => b.lasts(scale) - a.lasts(scale));
  const placeEach = (): boolean =>
    longestFirst.map((fault) => place(fault, 1) || place(fault, 2) || squeeze(fault)).every((isPlaced) => isPlaced);

  for (let n = 1; !placeEach() && n < layouts; n += 1) placed.length = 0;
  const between = durationMs < longRunMs ? betweenAll : betweenLong;
  const most = Math.min(durationMs / between, (kinds.length * durationMs) / betweenSame);
  const weights = kinds.reduce((sum, { weight }) => sum + weight, 0);
  for (let missing = Math.floor(most) - placed.length; missing > 0 && kinds.length > 0; missing -= 1) {
    const fault = byWeight(kinds, draw.real() * weights);
    const times = placed.filter((one) => one.fault === fault).length + 1;
    if (!fault.heavy || times * fault.lasts(scale) <= heavyShare * durationMs) place(fault, 1);
  }
  return placed.toSorted((a, b) => a.at - b.at || (a.fault.name < b.fault.name ? -1 : 1)).map(actionOf(seed));
}

/** Whether nothing of its group goes on meanwhile, and at no moment `heavy` other heavy ones, if it is one. */
function hasRoom(placed: readonly Placed[], { fault, at, to }: Placed, heavy: number): boolean {
  const meanwhile = placed.filter((other) => other.at < to && at < other.to);
  if (fault.alone !== undefined && meanwhile.some((other) => other.fault.alone === fault.alone)) return false;
  if (!fault.heavy) return true;
  const others = meanwhile.filter((other) => other.fault.heavy);
  // There are most of them when one has just begun.
  const moments = [at, ...others.map((other) => Math.max(at, other.at))];
  return moments.every((now) => others.filter((one) => one.at <= now && now < one.to).length < heavy);
}

function shuffled<T>(list: readonly T[], draw: Draws): T[] {
  return list
    .map((item) => ({ item, place: draw.real() }))
    .toSorted((a, b) => a.place - b.place)
    .map(({ item }) => item);
}

const actionOf =
  (seed: number) =>
  ({ fault: { name }, at }: Placed, n: number): Action => {
    const own = draws(seed, `dice of action ${n}`);
    return { at, fault: name, dice: Array.from({ length: diceOfAction }, () => Number(own.real().toFixed(6))) };
  };

function earliest({ heavy }: Fault, durationMs: number): number {
  const kind = heavy ? 'heavy' : 'light';
  return Math.floor(Math.min(firstMs[kind], durationMs * firstShare[kind]));
}

/** When a fault may begin at the latest, ms; before it may begin at all: never. */
function latest(fault: Fault, durationMs: number, scale: Scale): number {
  const lasts = fault.lasts(scale);
  return Math.floor(
    Math.min(
      durationMs - lastMs,
      lasts > shortMs ? durationMs - lasts : Infinity,
      lasts >= longMs ? durationMs / 2 : Infinity,
    ),
  );
}

function byWeight(kinds: readonly Fault[], draw: number): Fault {
  let left = draw;
  for (const fault of kinds) {
    left -= fault.weight;
    if (left < 0) return fault;
  }
  return kinds.at(-1) as Fault;
}

function chosen(all: readonly Fault[], only: readonly string[] | undefined): readonly Fault[] {
  if (!only) return all;
  const names = all.map(({ name }) => name);
  const unknown = only.filter((name) => !names.includes(name));
  if (unknown.length === 0) return all.filter(({ name }) => only.includes(name));
  const words = unknown.map((name) => {
    const meant = nearest(name, names);
    return `"${name}"${meant === undefined ? '' : ` (did you mean ${meant}?)`}`;
  });
  throw new Error(`there is no fault ${words.join(', ')}; there are: ${names.join(', ')}`);
}

/** The plan as people read it, a line for each action. */
export const describePlan = (plan: readonly Action[]): string =>
  plan
    .map(({ at, fault, dice }) => `${(at / 1000).toFixed(3).padStart(9)} s  ${fault.padEnd(22)} ${dice.join(' ')}\n`)
    .join('');
