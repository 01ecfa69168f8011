import { plain } from './text.ts';

export interface Fit {
  /** Characters in a line; undefined: as many as it takes, for pipes and files. */
  width?: number | undefined;
  /** The last column goes on in more lines, under itself, and is not cut. */
  wrap?: boolean;
  /** Columns that are never cut, since people copy what is in them. */
  keep?: readonly number[];
  /** Gives a cell its colours; it is as wide before as after. */
  paint?: ((cell: string, column: number, row: number) => string) | undefined;
}

/** What the narrowest column keeps of its words. */
const least = 7;

/** Columns as wide as what is in them, or as the terminal allows. The cells are made safe here. */
export function fitted(
  rows: readonly (readonly string[])[],
  { width = Infinity, wrap = false, keep = [0], paint = (cell) => cell }: Fit = {},
): string[] {
  const cells = rows.map((row) => row.map(plain));
  const natural = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  const widths = narrowed(natural, { width, wrap, keep });
  const last = widths.length - 1;
  return cells.flatMap((row, at) => {
    const lines = row.map((cell, column) =>
      wrap && column === last ? wrapped(cell, widths[column] ?? 0) : [cut(cell, widths[column] ?? 0)],
    );
    const height = Math.max(...lines.map((each) => each.length));
    return Array.from({ length: height }, (_, line) => {
      const parts = lines.map((each, column) => {
        const text = each[line] ?? '';
        const isLast = column === last || lines.slice(column + 1).every((later) => !later[line]);
        return paint(text, column, at) + (isLast ? '' : ' '.repeat((widths[column] ?? 0) - text.length + 2));
      });
      return parts.join('').trimEnd();
    });
  });
}

/** The widest give way first; when the last one is wrapped, it gives way before all others. */
function narrowed(
  natural: readonly number[],
  { width, wrap, keep }: { width: number; wrap: boolean; keep: readonly number[] },
): number[] {
  const widths = [...natural];
  const room = width - 2 * (widths.length - 1);
  const over = (): number => widths.reduce((sum, each) => sum + each, 0) - room;
  const last = widths.length - 1;
  if (wrap && over() > 0) widths[last] = Math.max(Math.min(32, natural[last] ?? 0), (widths[last] ?? 0) - over());
  while (over() > 0) {
    const cuttable = widths.map((each, column) => (keep.includes(column) || each <= least ? 0 : each));
    const widest = cuttable.indexOf(Math.max(...cuttable));
    if ((cuttable[widest] ?? 0) === 0) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
  return widths;
}

/** Whether a table of full times and owners would not fit into this terminal. */
export const isNarrow = (terminal: { size(): { columns: number } } | undefined): boolean =>
  (terminal?.size().columns ?? Infinity) < 110;

/** The first words of a text, with a sign that there are more. */
export const cut = (text: string, width: number): string =>
  text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1)).toWellFormed()}…`;

/** The words of a text in lines of this width; a word that is longer is not broken, so that it can be copied. */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
