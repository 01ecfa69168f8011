/*
 * The table of docs/performance.md, from what `npm run bench -- --json` printed: node bench/report.ts FILE…
 * Of several files, such as one for each part, the lines come one after the other.
 */
import { readFile } from 'node:fs/promises';
import type { Line } from './place.ts';
import { asMarkdown } from './table.ts';

const lines: Line[] = [];
const machines = new Set<string>();
for (const file of process.argv.slice(2)) {
  const last = (await readFile(file, 'utf8')).trimEnd().split('\n').at(-1) ?? '';
  const report = JSON.parse(last) as { machine: string; lines: Line[] };
  machines.add(report.machine);
  lines.push(...report.lines);
}
console.log([...machines, '', ...asMarkdown(lines)].join('\n'));
