import { parseInt64 } from './int64.ts';
import { isRecordKey } from './names.ts';
import { quote } from './quote.ts';
import { tidTime } from './tid.ts';

/** One frame of an `/events` stream. */
export type Frame = {
  /** type of the event; empty for the text keepalives that some peers send */
  nsid: string;
  rkey: string;
  event: unknown;
  /** when the sender stored it, in nanoseconds; newer peers only */
  created?: bigint;
};

/**
 * Reads the envelope of one frame. Key names may differ in case, since Go's decoder ignores it, and unknown keys are
 * ignored. `created` is exact, though it exceeds 2^53: it is read from the raw text, and only the envelope's own counts.
 */
export function parseFrame(text: string): Frame | { problem: string } {
  const envelope = parseEnvelope(text);
  if ('problem' in envelope) return envelope;
  const { fields, created } = envelope;

  const nsid = fields.get('nsid') ?? '';
  const rkey = fields.get('rkey') ?? '';
  if (typeof nsid !== 'string') return { problem: 'nsid is not a string' };
  if (typeof rkey !== 'string') return { problem: `rkey is not a string (nsid ${quote(nsid)})` };
  if (nsid !== '' && !isRecordKey(rkey)) {
    return { problem: `rkey ${quote(rkey)} is not a record key (nsid ${quote(nsid)})` };
  }
  return { nsid, rkey, event: fields.get('event') ?? null, ...(created === undefined ? {} : { created }) };
}

/** When a frame's event happened, in nanoseconds: its `created`, else the time inside its TID, else unknown. */
export function eventTime(frame: Pick<Frame, 'rkey' | 'created'>): bigint | undefined {
  return frame.created ?? tidTime(frame.rkey);
}

type Envelope = { fields: Map<string, unknown>; created: bigint | undefined };

function parseEnvelope(text: string): Envelope | { problem: string } {
  // which object holds the envelope is known only at the end, so every object's `created` is kept by its object
  const createdOf = new WeakMap<object, bigint>();
  let root: unknown;
  try {
    root = JSON.parse(text, function (this: object, key: string, value: unknown, context?: { source?: string }) {
      if (key.toLowerCase() === 'created') {
        const time = parseInt64(typeof value === 'string' ? value : (context?.source ?? ''));
        if (time !== undefined && time > 0n) createdOf.set(this, time);
      }
      return value;
    });
  } catch (error) {
    return { problem: `not JSON: ${error instanceof Error ? error.message : String(error)}` };
  }
  if (typeof root !== 'object' || root === null || Array.isArray(root)) return { problem: 'not a JSON object' };

  const fields = new Map<string, unknown>();
  for (const [key, value] of Object.entries(root)) fields.set(key.toLowerCase(), value);
  return { fields, created: createdOf.get(root) };
}
