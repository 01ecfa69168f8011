import { globSync, readFileSync } from 'node:fs';

export interface Found {
  /** From the folder that was searched. */
  file: string;
  source: string;
  flags: string;
}

/** What may stand before a regular expression and not before a division. */
const before = /(?:^|[=(,:!&|?[{};+>]|\breturn|\bcase)$/;
const literal =
  /\/((?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])*)\/([dgimsuvy]*)/y;
const skipped = /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"/y;

/** Every regular expression that is written down in the sources of a folder, each once for a file. */
export function regexesIn(folder: string): Found[] {
  const found = new Map<string, Found>();
  for (const file of globSync('**/*.{ts,mjs}', { cwd: folder }).toSorted()) {
    const text = readFileSync(`${folder}/${file}`, 'utf8');
    for (let at = 0; at < text.length;) {
      skipped.lastIndex = at;
      literal.lastIndex = at;
      const other = skipped.exec(text);
      const begins = text[at] === '/' && before.test(text.slice(Math.max(0, at - 80), at).trimEnd());
      const regex = other || !begins ? null : literal.exec(text);
      if (regex) found.set(`${file} ${regex[0]}`, { file, source: regex[1] ?? '', flags: regex[2] ?? '' });
      at += (other ?? regex)?.[0].length ?? 1;
    }
  }
  return [...found.values()];
}
