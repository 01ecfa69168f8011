/** Where the parts of a bench run: one PostgreSQL for all, durable as in production. */
export interface Place {
  postgresUrl: string;
  /** For files that are needed for a while. */
  dir: string;
  /** Fewer rounds: shows that it works, and about how quick it is. */
  quick: boolean;
  /** Where the roles leave their CPU profiles when they end. */
  profileDir?: string | undefined;
  say(line: string): void;
}

/** What a part measured. */
export interface Outcome {
  /** Added to the JSON. */
  figures: Record<string, unknown>;
  lines: Line[];
}

/** A figure beside its floor: a line of the table. */
export interface Line {
  /** What was measured. */
  name: string;
  figure: string;
  unit: string;
  /** What it is compared with, measured in the same run. */
  floor?: { name: string; figure: string } | undefined;
  /** The figure by its floor, or the floor by the figure where more is better, so that 1 is as good as the floor. */
  ratio?: number | undefined;
  goal?: Goal | undefined;
}

export interface Goal {
  text: string;
  met: boolean;
}

export const atMost = (value: number, limit: number, unit = ''): Goal => ({
  text: `≤ ${limit.toLocaleString('en')}${unit}`,
  met: value <= limit,
});

export const atLeast = (value: number, limit: number, unit = ''): Goal => ({
  text: `≥ ${limit.toLocaleString('en')}${unit}`,
  met: value >= limit,
});

export const perSecond = (count: number, ms: number): string => Math.round((count * 1000) / ms).toLocaleString('en');

/** MB with what is after the point left out. */
export const mb = (value: number): number => Math.round(value);
