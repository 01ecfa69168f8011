import { statementOf } from './statement.ts';

/** A place in the stream of messages that a fault may hit. */
export interface Place {
  what: 'write' | 'commit';
  text: string;
}

/** Messages that the server answers together: they end with one ReadyForQuery. */
export interface Unit {
  /** In the order in which they were sent; more come until the client has sent all. */
  places: Place[];
  /** Something of the answer to a place was passed back. */
  passing: boolean;
}

/** What is known of one connection, from both of its directions. */
export interface Conversation {
  /** Not answered yet, oldest first. */
  units: Unit[];
  /** A transaction is open, as far as the client's statements say. */
  open: boolean;
  /** The server's next byte is an answer by itself: whether it speaks TLS. */
  oneByte: boolean;
  /** Nothing of it can be understood. */
  blind: boolean;
}

export const createConversation = (): Conversation => ({ units: [], open: false, oneByte: false, blind: false });

export interface Message {
  /** All of it, with type and length. */
  size: number;
  places: Place[];
}

const secureRequests = [80877103, 80877104];
const P = 0x50;
const B = 0x42;
const C = 0x43;
const Q = 0x51;
/** Sync, and FunctionCall, end a unit; so does a simple query. */
const ending = [0x53, 0x46];
/** Describe, Execute, Flush. */
const extended = [0x44, 0x45, 0x48];

/**
 * Understands what a client sends, message by message, for PostgreSQL's protocol 3. The function that it gives looks at
 * the message that begins at `at`; undefined: more of it must have come.
 */
export function clientMessages(talk: Conversation): (bytes: Buffer, at: number) => Message | undefined {
  const texts = new Map<string, string>();
  let started = false;
  let current: Unit | undefined;

  const unit = (): Unit => {
    if (current) return current;
    current = { places: [], passing: false };
    talk.units.push(current);
    return current;
  };

  const blind = (): Message => {
    talk.blind = true;
    return { size: 0, places: [] };
  };

  const placesOf = (text: string): Place[] => {
    const { writes, turns } = statementOf(text);
    const places: Place[] = writes ? [{ what: 'write', text }] : [];
    for (const turn of turns) {
      if (turn === 'commit' && talk.open) places.push({ what: 'commit', text });
      talk.open = turn === 'begin';
    }
    unit().places.push(...places);
    return places;
  };

  const startup = (bytes: Buffer, at: number): Message | undefined => {
    if (bytes.length - at < 8) return undefined;
    const code = bytes.readInt32BE(at + 4);
    if (secureRequests.includes(code)) talk.oneByte = true;
    else if (code >> 16 === 3) {
      started = true;
      talk.units.push({ places: [], passing: false });
    } else return blind();
    return { size: bytes.readInt32BE(at), places: [] };
  };

  return (bytes, at) => {
    if (!started) return startup(bytes, at);
    if (bytes.length - at < 5) return undefined;
    const type = bytes[at] ?? 0;
    const size = bytes.readInt32BE(at + 1) + 1;
    if (size < 5) return blind();
    const message: Message = { size, places: [] };
    const complete = bytes.length - at >= size;
    const string = (from: number): string => bytes.toString('utf8', from, bytes.indexOf(0, from));
    if (type === P || type === C || type === Q) {
      if (!complete) return undefined;
      const name = string(at + (type === C ? 6 : 5));
      if (type === P) texts.set(name, string(at + 6 + Buffer.byteLength(name)));
      else if (type === Q) message.places = placesOf(name);
      else if (bytes[at + 5] === 0x53) texts.delete(name);
      unit();
    } else if (type === B) {
      // The names are enough; the parameters behind them may be large.
      const portal = bytes.indexOf(0, at + 5);
      const name = portal < 0 ? -1 : bytes.indexOf(0, portal + 1);
      if (name < 0 && !complete) return undefined;
      message.places = placesOf(texts.get(bytes.toString('utf8', portal + 1, name)) ?? '');
    } else if (ending.includes(type) || extended.includes(type)) unit();
    if (type === Q || ending.includes(type)) current = undefined;
    return message;
  };
}
