/** What a text of SQL does, as far as a fault may care. */
export interface Statement {
  /** Changes rows, also in a CTE or by a function that is known to. */
  writes: boolean;
  /** What it does to the transaction, in order. */
  turns: readonly ('begin' | 'commit' | 'rollback')[];
}

/** Comments, and everything between quotes: what stands in there is no statement. */
const quoted =
  /--[^\n]*|\/\*[\s\S]*?\*\/|\be'(?:[^'\\]|\\[\s\S]|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$([a-z_]\w*)?\$[\s\S]*?\$\1\$/gi;

const change = /^(?:insert|update|delete|merge)\b/i;
/** After `as (`, or after the `)` of the last CTE. `for update` and `do update` have neither before them. */
const changeInCte = /[()]\s*(?:insert\s+into|update|delete\s+from|merge\s+into)\b/i;
const changing = /\breserve_slot\s*\(/i;

const turns = [
  ['begin', /^(?:begin|start\s+transaction)\b/i],
  ['commit', /^(?:commit|end)\b(?!\s+prepared)/i],
  ['rollback', /^(?:rollback|abort)\b(?!\s+(?:prepared|(?:work\s+|transaction\s+)?to))/i],
] as const;

const known = new Map<string, Statement>();

/** Reads SQL, of one statement or several. It knows words, not grammar, and remembers the texts that it has seen. */
export function statementOf(text: string): Statement {
  const seen = known.get(text);
  if (seen) return seen;
  const parts = text
    .replaceAll(quoted, (found) => (/^(?:--|\/\*)/.test(found) ? ' ' : " '' "))
    .split(';')
    .map((part) => part.trim());
  const statement: Statement = {
    writes: parts.some(
      (part) =>
        change.test(part) ||
        (/^with\b/i.test(part) && changeInCte.test(part)) ||
        (/^(?:with|select)\b/i.test(part) && changing.test(part)),
    ),
    turns: parts.flatMap((part) => turns.filter(([, words]) => words.test(part)).map(([turn]) => turn)),
  };
  if (known.size >= 1_000) known.clear();
  known.set(text, statement);
  return statement;
}
