import type { Fate } from '../contract.ts';
import type { Arms } from './arms.ts';
import type { OpenTap, Way } from './pair.ts';
import { clientMessages, type Conversation, createConversation, type Place } from './postgres-forth.ts';

/** Reads along PostgreSQL's protocol 3; a connection that turns to TLS or is something else is passed on unread. */
export const postgresTap =
  (arms: Arms): OpenTap =>
  (forth, back, drop) => {
    const talk = createConversation();
    const toTarget = readForth(arms, talk, forth, drop);
    const toClient = readBack(arms, talk, back, drop);
    return { forth: toTarget.read, back: toClient.read, forthEnd: toTarget.end, backEnd: toClient.end };
  };

interface Reader {
  read(chunk: Buffer): void;
  end(): void;
}

/** What is decided at the first of the places that something waits for. */
function fateAt(arms: Arms, when: 'before' | 'after', places: readonly Place[]): Fate {
  const place = places.find(({ what, text }) => arms.waits(when, what, text));
  return place ? arms.reached(when, place.what, place.text) : 'pass';
}

function readForth(arms: Arms, talk: Conversation, way: Way, drop: () => void): Reader {
  const look = clientMessages(talk);
  let carry: Buffer | undefined;
  /** Of the message that is being passed: what has not come yet. */
  let rest = 0;

  return {
    read(chunk) {
      const bytes = carry ? Buffer.concat([carry, chunk]) : chunk;
      carry = undefined;
      let passed = 0;
      let at = Math.min(rest, bytes.length);
      rest -= at;
      while (at < bytes.length && !talk.blind) {
        const message = look(bytes, at);
        if (!message) {
          carry = bytes.subarray(at);
          break;
        }
        const fate = fateAt(arms, 'before', message.places);
        if (fate === 'drop') {
          drop();
          return;
        }
        if (fate !== 'pass') {
          if (at > passed) way.pass(bytes.subarray(passed, at));
          passed = at;
          way.later(fate);
        }
        const has = Math.min(message.size, bytes.length - at);
        rest = message.size - has;
        at += has;
      }
      const end = carry ? at : bytes.length;
      if (end > passed) way.pass(bytes.subarray(passed, end));
    },
    end() {
      if (carry) way.pass(carry);
      carry = undefined;
    },
  };
}

const Z = 0x5a;
/** NotificationResponse, NoticeResponse, ParameterStatus: they may come at any time and answer nothing. */
const unasked = new Set([0x41, 0x4e, 0x53]);

function readBack(arms: Arms, talk: Conversation, way: Way, drop: () => void): Reader {
  let carry: Buffer | undefined;
  let rest = 0;
  /** An answer of which nothing is passed back before it is complete. */
  let held: Buffer[] | undefined;

  const give = (bytes: Buffer): void => {
    if (bytes.length === 0) return;
    if (held) held.push(bytes);
    else way.pass(bytes);
  };
  const release = (): void => {
    const pieces = held ?? [];
    held = undefined;
    for (const piece of pieces) way.pass(piece);
  };
  /** Whether the answer that begins or goes on here is to be held back from here on. */
  const holds = (type: number): boolean => {
    const [unit] = talk.units;
    if (held || !unit || unit.passing || unit.places.length === 0 || unasked.has(type)) return false;
    unit.passing = true;
    return unit.places.some(({ what, text }) => arms.waits('after', what, text));
  };
  /** The server is ready for the next one. */
  const ready = (status: number | undefined): Fate => {
    const unit = talk.units.shift();
    if (talk.units.length === 0) talk.open = status !== 0x49;
    return held && unit ? fateAt(arms, 'after', unit.places) : 'pass';
  };

  return {
    read(chunk) {
      const bytes = carry ? Buffer.concat([carry, chunk]) : chunk;
      carry = undefined;
      let given = 0;
      let at = Math.min(rest, bytes.length);
      rest -= at;
      if (talk.oneByte) {
        talk.oneByte = false;
        talk.blind = bytes[at] === 0x53 || bytes[at] === 0x47;
        at += 1;
      }
      while (at < bytes.length && !talk.blind) {
        const left = bytes.length - at;
        if (left < 5 || (bytes[at] === Z && left < 6)) {
          carry = bytes.subarray(at);
          break;
        }
        const type = bytes[at] ?? 0;
        const size = bytes.readInt32BE(at + 1) + 1;
        if (size < 5) talk.blind = true;
        if (holds(type)) {
          give(bytes.subarray(given, at));
          given = at;
          held = [];
        }
        const has = Math.min(size, left);
        rest = size - has;
        at += has;
        if (type !== Z) continue;
        const fate = ready(bytes[at - 1]);
        if (fate === 'drop') {
          drop();
          return;
        }
        if (!held) continue;
        give(bytes.subarray(given, at));
        given = at;
        if (fate !== 'pass') way.later(fate);
        release();
      }
      give(bytes.subarray(given, carry ? at : bytes.length));
      if (talk.blind) release();
    },
    end() {
      release();
      if (carry) way.pass(carry);
      carry = undefined;
    },
  };
}
