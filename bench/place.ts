/** Where the parts of a bench run: one PostgreSQL for all, durable as in production. */
export interface Place {
  postgresUrl: string;
  /** For files that are needed for a while. */
  dir: string;
  /** Fewer rounds: shows that it works, and about how quick it is. */
  quick: boolean;
  say(line: string): void;
}

/** What a part measured. */
export interface Outcome {
  /** Added to the JSON. */
  figures: Record<string, unknown>;
  /** Lines of the table. */
  table: string[];
}

/** A line of the table. */
export const row = (name: string, figure: string, unit: string, more = ''): string =>
  `${name.padEnd(38)} ${figure.padStart(17)} ${unit.padEnd(10)} ${more}`.trimEnd();

export const perSecond = (count: number, ms: number): string => Math.round((count * 1000) / ms).toLocaleString('en');

/** MB with what is after the point left out. */
export const mb = (value: number): number => Math.round(value);
