import type { Line } from './place.ts';

/** For a terminal: a line for each figure, and below it its floor. */
export const asText = (lines: readonly Line[]): string[] =>
  lines.flatMap(({ name, figure, unit, floor, ratio, goal }) => [
    row(name, figure, unit, [shown(ratio), goal && `goal ${goal.text}${goal.met ? '' : ', MISSED'}`]),
    ...(floor ? [row(`  ${floor.name}`, floor.figure, unit, [])] : []),
  ]);

/** For docs/performance.md. */
export const asMarkdown = (lines: readonly Line[]): string[] => [
  '| what | figure | floor | ratio | goal |',
  '|---|---|---|---|---|',
  ...lines.map(({ name, figure, unit, floor, ratio, goal }) => {
    const cells = [
      name,
      `${figure} ${unit}`.trim(),
      floor ? `${floor.figure} (${floor.name})` : '',
      shown(ratio) ?? '',
      goal ? `${goal.text} ${goal.met ? '✓' : '✗'}` : '',
    ];
    return `| ${cells.map((text) => text.replaceAll('|', '\\|')).join(' | ')} |`;
  }),
];

const shown = (ratio: number | undefined): string | undefined =>
  ratio === undefined ? undefined : `${ratio.toFixed(2)} ×`;

const row = (name: string, figure: string, unit: string, more: (string | undefined)[]): string =>
  `${name.padEnd(48)} ${figure.padStart(17)} ${unit.padEnd(11)} ${more.filter(Boolean).join(', ')}`.trimEnd();
