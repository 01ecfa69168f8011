export interface Percentiles {
  p50: number;
  p95: number;
}

/** The value below which a share of the sorted samples lies, by nearest rank. */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = samples.filter((sample) => !Number.isNaN(sample)).toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? Number.NaN;
}

export const percentiles = (samples: readonly number[]): Percentiles => ({
  p50: percentile(samples, 0.5),
  p95: percentile(samples, 0.95),
});

/** The median of each figure over several rounds. */
export const medianOf = (rounds: readonly Percentiles[]): Percentiles => ({
  p50: rounded(
    percentile(
      rounds.map(({ p50 }) => p50),
      0.5,
    ),
  ),
  p95: rounded(
    percentile(
      rounds.map(({ p95 }) => p95),
      0.5,
    ),
  ),
});

/** For the table. */
export const shownPercentiles = ({ p50, p95 }: Percentiles): string => `${p50.toFixed(1)} / ${p95.toFixed(1)}`;

export const median = (samples: readonly number[]): number => percentile(samples, 0.5);

/** With one digit after the point. */
export const rounded = (value: number): number => Math.round(value * 10) / 10;

/** Milliseconds since 1970 with a fraction: one clock for all processes of this machine. */
export const now = (): number => performance.timeOrigin + performance.now();
