/** The keys that a workflow file may have under `whorl:`, with what each may be, for people. */
export const whorlKeys = { supersede: 'true or false' } as const;

/** What a workflow file asks of Whorl itself. */
export type WhorlOptions = { ok: true; supersede: boolean } | { ok: false; reason: string };

const example = 'for example: whorl: { supersede: true }';

/**
 * Reads the block `whorl:` of a workflow file, or tells its author what is wrong. There are no keys of strangers in it, so
 * one that we do not know is a mistake.
 * @param file the whole file as a value, a mapping
 */
export function readWhorl(file: unknown): WhorlOptions {
  const block = field(file, 'whorl');
  // a key with nothing behind it is null in YAML
  if (block === undefined || block === null) return { ok: true, supersede: false };
  if (typeof block !== 'object' || Array.isArray(block))
    return { ok: false, reason: `the "whorl:" block must be a mapping, ${example}` };
  const unknown = Object.keys(block).find((key) => !Object.hasOwn(whorlKeys, key));
  if (unknown !== undefined) {
    const known = Object.keys(whorlKeys).join(', ');
    return { ok: false, reason: `"whorl:" has no key “${unknown.slice(0, 100)}”; it may have: ${known}` };
  }
  const supersede = field(block, 'supersede') ?? false;
  if (typeof supersede !== 'boolean')
    return { ok: false, reason: `whorl.supersede must be ${whorlKeys.supersede}, ${example}` };
  return { ok: true, supersede };
}

/** Of own properties only: keys come from strangers. */
const field = (value: unknown, key: string): unknown =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    ? (value as Record<string, unknown>)[key]
    : undefined;
