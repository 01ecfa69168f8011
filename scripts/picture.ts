// Makes docs/images/demo.svg of a run of the demo as it is now: `node scripts/picture.ts`. A terminal is needed, and
// `script` of util-linux brings one.
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

const columns = 116;
const styles: Record<string, string> = { 1: 'bold', 2: 'faint', 31: 'red', 32: 'green', 33: 'yellow' };
const root = fileURLToPath(new URL('..', import.meta.url));
const target = fileURLToPath(new URL('../docs/images/demo.svg', import.meta.url));

const command = `stty cols ${columns} rows 50; '${process.execPath}' demo/main.ts --once`;
const text = await record('script', ['-qec', command, '/dev/null']);
// The end, a line of JSON, is for programs.
await writeFile(target, svg(screenOf(text.slice(0, text.indexOf('stopping')))));
console.log(`written: ${target}`);

interface Cell {
  char: string;
  style: string;
}

function record(file: string, args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve(output) : reject(new Error(`the demo ended with ${code}:\n${output}`)),
    );
  });
}

/** What stands on the screen after all this was written to it. Knows the few codes that the demo uses. */
function screenOf(written: string): Cell[][] {
  const lines: Cell[][] = [[]];
  let [row, column, style] = [0, 0, ''];
  // oxlint-disable-next-line no-control-regex -- control characters are what is read here
  for (const [part, number, code] of written.matchAll(/\x1b\[(\d*)([A-Za-z])|\r|\n|[^\x1b\r\n]/gu)) {
    const line = (lines[row] ??= []);
    if (part === '\r') column = 0;
    else if (part === '\n') row++;
    else if (code === undefined) line[column++] = { char: part, style };
    else if (code === 'A') row = Math.max(0, row - Number(number || 1));
    else if (code === 'K') line.length = column;
    else if (code === 'J') [lines.length, line.length] = [row + 1, column];
    else if (code === 'm') style = styles[number ?? ''] ?? '';
  }
  while (lines.at(-1)?.every(({ char }) => char === ' ')) lines.pop();
  return lines;
}

function svg(lines: Cell[][]): string {
  const [width, height, size] = [8.43, 20, 14];
  const full = [Math.ceil(columns * width + 40), lines.length * height + 44];
  const texts = lines.flatMap((line, row) =>
    runs(line).map(({ text, style, column }) => {
      const [x, y, long] = [20 + column * width, 34 + row * height, text.length * width].map((n) => n.toFixed(1));
      // The length keeps columns in line whatever the font.
      return `<text x="${x}" y="${y}" textLength="${long}"${style && ` class="${style}"`}>${escape(text)}</text>`;
    }),
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${full.join(' ')}" width="${full[0]}" height="${full[1]}">`,
    `<style>text { font: ${size}px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: #d8dee9; white-space: pre }`,
    '.bold { font-weight: bold; fill: #fff } .faint { fill: #8a94a6 } .red { fill: #ff7b72 } .green { fill: #56d364 } .yellow { fill: #e3b341 }</style>',
    '<rect width="100%" height="100%" rx="8" fill="#10151f"/>',
    ...texts,
    '</svg>\n',
  ].join('\n');
}

/** The parts of a line that have one style and hold no gap. */
function runs(line: Cell[]): { text: string; style: string; column: number }[] {
  const found: { text: string; style: string; column: number }[] = [];
  Array.from(line, (cell) => cell ?? { char: ' ', style: '' }).forEach(({ char, style }, column) => {
    const last = found.at(-1);
    if (last?.style === style && last.column + last.text.length === column) last.text += char;
    else found.push({ text: char, style, column });
  });
  return found.flatMap(({ text, style, column }) =>
    Array.from(text.matchAll(/\S+( \S+)*/g), (match) => ({ text: match[0], style, column: column + match.index })),
  );
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
