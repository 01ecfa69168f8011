import { styleText } from 'node:util';

/** What became of one target. */
export interface Row {
  target: string;
  runs: number;
  /** Runs a second, while it ran. */
  rate: number;
  findings: number;
}

const number = (value: number): string => Math.round(value).toLocaleString('en');

/** The rows and their sum, for people. */
export function tableOf(rows: readonly Row[]): string[] {
  const line = (target: string, runs: string, rate: string, findings: string): string =>
    `${target.padEnd(18)} ${runs.padStart(12)} ${rate.padStart(10)} ${findings.padStart(10)}`;
  const sum = (of: (row: Row) => number): number => rows.reduce((all, row) => all + of(row), 0);
  const seconds = sum(({ runs, rate }) => (rate > 0 ? runs / rate : 0));
  const runs = sum((row) => row.runs);
  return [
    line('target', 'runs', 'runs/s', 'findings'),
    ...rows.map((row) => line(row.target, number(row.runs), number(row.rate), number(row.findings))),
    line('all', number(runs), number(seconds > 0 ? runs / seconds : 0), number(sum((row) => row.findings))),
  ];
}

/** A line that is written over itself on a terminal, and now and then a line of its own elsewhere. */
export function progress(stream: NodeJS.WriteStream) {
  let last = 0;
  return {
    show(text: string): void {
      const now = performance.now();
      if (now - last < (stream.isTTY ? 200 : 10_000)) return;
      last = now;
      stream.write(stream.isTTY ? `\r\x1b[K${styleText('dim', text, { stream })}` : `${text}\n`);
    },
    clear(): void {
      if (stream.isTTY) stream.write('\r\x1b[K');
    },
  };
}
