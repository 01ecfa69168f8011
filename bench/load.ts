/** What is offered to both sides, in the same way. */
export interface Load {
  jobs: number;
  /** Between two webhooks of one job. */
  paceMs: number;
  resendMs: number;
  /** Begins one pipeline after the other at the rate of the run; resolves when the last was begun. */
  each(begin: (n: number) => Promise<void>): Promise<void>;
  after(ms: number, work: () => Promise<void>): Promise<void>;
}

/** Latencies of one round, ms. */
export interface Round {
  /** From the trigger to the first create. NaN: it never came. */
  starts: number[];
  /** From the news to the published status. NaN: it was not published, since the next one overtook it. */
  signals: number[];
}
