import { type Document, isScalar, parseDocument, visit } from 'yaml';

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
    const double = doubleKey(document);
    return double === undefined ? { document } : { problem: `Map keys must be unique ${placeOf(raw, double)}` };
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

/** Where the first key stands that its mapping has already. */
function doubleKey(document: Document): number | undefined {
  let found: number | undefined;
  visit(document, {
    Map(_key, { items }) {
      const keys = new Set<unknown>();
      for (const { key } of items) {
        if (!isScalar(key)) continue;
        if (keys.has(key.value)) found = key.range?.[0] ?? 0;
        if (found !== undefined) return visit.BREAK;
        keys.add(key.value);
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
