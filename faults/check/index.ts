import type { Evidence, Verdict } from '../evidence.ts';
import { type Books, booksOf } from './books.ts';
import { cancels } from './cancels.ts';
import { type Invariant, verdictOf } from './finding.ts';
import { foreign } from './foreign.ts';
import { lastStatus, settleMs } from './last-status.ts';
import { countBuilds, extrasCancelled, oneBuild } from './one-build.ts';
import { ranks } from './ranks.ts';
import { reasons } from './reasons.ts';
import { replays } from './replays.ts';
import { secrets } from './secrets.ts';

const invariants: readonly Invariant[] = [oneBuild, lastStatus, ranks, foreign, secrets, reasons, cancels, replays];

/** One verdict for each invariant, in their order. A pure function: the same evidence has the same verdicts. */
export function judge(evidence: Evidence): Verdict[] {
  const books = booksOf(evidence);
  return invariants.map((invariant) => verdictOf(invariant, books));
}

/** The numbers of a run, as `--json` prints them. */
export interface Summary {
  seed: number;
  pipelines: number;
  builds: number;
  /** Counted from the pushes alone. */
  expected_builds: number;
  extras_cancelled: number;
  lost: number;
  doubled: number;
  wrong_final: number;
  rank_violations: number;
  forged_accepted: number;
  stuck_without_reason: number;
  secrets_found: number;
  max_settle_s: number;
  faults: Record<string, number>;
}

/** `counts`: how often each fault was done, if its own word is better than what was written down of it. */
export function summarise(
  evidence: Evidence,
  verdicts: readonly Verdict[],
  counts: Record<string, number> = countsOf(evidence),
): Summary {
  const books = booksOf(evidence);
  const found = (invariant: Verdict['invariant'], kind?: string): number => {
    const kinds = verdicts.find((verdict) => verdict.invariant === invariant)?.found ?? {};
    return kind === undefined ? Object.values(kinds).reduce((sum, n) => sum + n, 0) : (kinds[kind] ?? 0);
  };
  return {
    seed: evidence.seed,
    pipelines: evidence.pushes.length,
    builds: countBuilds(books),
    expected_builds: expectedBuilds(books),
    extras_cancelled: extrasCancelled(books),
    lost: found(1, 'lost'),
    doubled: found(1, 'doubled'),
    wrong_final: found(2, 'wrong'),
    rank_violations: found(3),
    forged_accepted: found(4),
    stuck_without_reason: found(6),
    secrets_found: evidence.sightings.length,
    max_settle_s: Math.round(settleMs(books) / 100) / 10,
    faults: counts,
  };
}

const expectedBuilds = ({ jobs }: Books): number => jobs.filter(({ expect }) => expect === 'build').length;

const countsOf = ({ disturbances }: Evidence): Record<string, number> =>
  Object.fromEntries(
    [...Map.groupBy(disturbances, ({ fault }) => fault)].map(([fault, { length }]) => [fault, length]),
  );
