import { formsOf } from './forms.ts';
import { matcher } from './matcher.ts';
import type { Scan, Sighting } from '../evidence.ts';

export interface Secret {
  /** What it is called in a verdict. */
  name: string;
  value: string;
}

/** Looks for secrets in whatever it is given, in every form that they may have there. */
export interface Scanner {
  /** `place` counts the bytes; `detail` says where in it. Numbers and times have no secrets, so they are passed over. */
  scan(place: string, data: unknown, detail?: string): void;
  /** The same for what comes in pieces: a secret across a border is found too. */
  stream(place: string, detail?: string): (piece: Uint8Array | string) => void;
  readonly sightings: readonly Sighting[];
  readonly scanned: Scan;
}

/** Of one secret in one place, so many are told. */
const mostTold = 3;
const context = 24;

/** Secrets of less than eight characters would be found everywhere, so they are refused. */
export function createScanner(secrets: readonly Secret[]): Scanner {
  const short = secrets.find(({ value }) => value.length < 8);
  if (short) throw new Error(`the secret ${short.name} is too short to look for`);
  const needles = secrets.flatMap(({ name, value }) => formsOf(value).map((bytes) => ({ name, bytes })));
  const find = matcher(needles.map(({ bytes }) => bytes));
  const longest = Math.max(1, ...needles.map(({ bytes }) => bytes.length));
  const sightings: Sighting[] = [];
  const told = new Map<string, number>();
  const scanned: Scan = { secrets: secrets.length, bytes: {} };

  const count = (place: string, bytes: number): void => {
    scanned.bytes[place] = (scanned.bytes[place] ?? 0) + bytes;
  };

  /** Without any secret, also if another one stands beside it. */
  const around = (text: Uint8Array, from: number, to: number): string => {
    const part = (a: number, b: number): string => Buffer.from(text.subarray(Math.max(0, a), b)).toString('utf8');
    const said = `${part(from - context, from)}[…]${part(to, to + context)}`.replaceAll(/\p{Cc}/gu, ' ');
    return secrets.reduce((rest, { value }) => rest.replaceAll(value, '[…]'), said);
  };

  const see = (place: string, detail: string | undefined, bytes: Uint8Array, seen = 0): void => {
    find(bytes, (needle, from) => {
      const { name = '', bytes: form } = needles[needle] ?? {};
      const to = from + (form?.length ?? 0);
      if (to <= seen) return;
      const where = detail === undefined ? place : `${place} ${detail}`;
      const times = told.get(`${name} ${where}`) ?? 0;
      told.set(`${name} ${where}`, times + 1);
      if (times < mostTold) sightings.push({ secret: name, where, around: around(bytes, from, to) });
    });
  };

  const scan: Scanner['scan'] = (place, data, detail) => {
    if (typeof data === 'string' || data instanceof Uint8Array) {
      const bytes = typeof data === 'string' ? Buffer.from(data) : data;
      count(place, bytes.length);
      see(place, detail, bytes);
    } else if (Array.isArray(data)) {
      for (const item of data) scan(place, item, detail);
    } else if (typeof data === 'object' && data !== null && !(data instanceof Date)) {
      for (const [key, value] of Object.entries(data)) {
        scan(place, key, detail);
        scan(place, value, detail);
      }
    }
  };

  return {
    scan,
    stream(place, detail) {
      let tail: Uint8Array = Buffer.alloc(0);
      count(place, 0);
      return (piece) => {
        const bytes = typeof piece === 'string' ? Buffer.from(piece) : piece;
        count(place, bytes.length);
        const joined = Buffer.concat([tail, bytes]);
        see(place, detail, joined, tail.length);
        tail = joined.subarray(Math.max(0, joined.length - longest + 1));
      };
    },
    sightings,
    scanned,
  };
}
