import { type Document, isAlias, isCollection, isNode, isScalar, parseDocument, visit } from 'yaml';

/** Nobody nests a workflow file so deeply by hand; the parser gives up at about as much. */
const tooDeep = 'it is nested too deeply';

/**
 * Reads a YAML text whose author may mean harm, in a time that grows with its length and not faster. The parser's own
 * check for keys that come twice compares each with all others, and its errors each carry an excerpt of the text, or at
 * least a stack: of a text with a hundred thousand mistakes that is most of a minute, in which nothing else would run.
 */
export function readYaml(raw: string): { document: Document } | { problem: string } {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    const document = parseDocument(raw, { logLevel: 'silent', prettyErrors: false, uniqueKeys: false });
    const [broken] = document.errors;
    if (broken?.message.includes('call stack')) return { problem: tooDeep };
    if (broken) return { problem: `${firstLine(broken.message)} ${placeOf(raw, broken.pos[0])}` };
    const key = badKey(document);
    return key === undefined ? { document } : { problem: `${key.problem} ${placeOf(raw, key.at)}` };
  } catch (error) {
    return { problem: error instanceof RangeError ? tooDeep : firstLine(messageOf(error)) };
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** What an alias or an anchor cannot be made into is said here too. */
export function valueOf(document: Document): { value: unknown } | { problem: string } {
  try {
    return { value: document.toJS({ maxAliasCount: 50 }) };
  } catch (error) {
    return { problem: error instanceof RangeError ? tooDeep : firstLine(messageOf(error)) };
  }
}

/**
 * The first key that its mapping has already, or that is no text but a collection. Such a key is written out as text where
 * a value is made of it, with all the keys in it, and each of those again: 600 of them in one another, in a file of a
 * kilobyte, take minutes.
 */
function badKey(document: Document): { at: number; problem: string } | undefined {
  let found: { at: number; problem: string } | undefined;
  /** Names of collections, so that an alias of one is known; they come before it. */
  const named = new Set<string>();
  visit(document, {
    Node(_key, node) {
      if (isAlias(node) || node.anchor === undefined) return;
      if (isCollection(node)) named.add(node.anchor);
      else named.delete(node.anchor);
    },
    Map(_key, { anchor, items }) {
      if (anchor !== undefined) named.add(anchor);
      const keys = new Set<unknown>();
      for (const { key } of items) {
        const at = isNode(key) ? (key.range?.[0] ?? 0) : 0;
        if (isCollection(key) || (isAlias(key) && named.has(key.source))) {
          found = { at, problem: 'A key must be a text, and not a list or a mapping' };
        } else if (isScalar(key) && keys.has(key.value)) found = { at, problem: 'Map keys must be unique' };
        if (found !== undefined) return visit.BREAK;
        if (isScalar(key)) keys.add(key.value);
      }
      return undefined;
    },
  });
  return found;
}

function placeOf(raw: string, at: number): string {
  const before = raw.slice(0, at).split('\n');
  return `at line ${before.length}, column ${(before.at(-1) ?? '').length + 1}`;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
const firstLine = (text: string): string => text.split('\n')[0] ?? text;
