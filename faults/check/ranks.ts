import { type Books, isEnd, type StatusRow } from './books.ts';
import { at, type Finding, type Invariant } from './finding.ts';
import { phasesOf } from './truth.ts';

/** 3: nobody sees a job go back, unless it was really begun again. */
export const ranks: Invariant = {
  number: 3,
  name: 'The statuses of a job never go down in rank without a real reopening.',
  look(books) {
    const findings: Finding[] = [];
    for (const [key, sent] of books.sent) findings.push(...falls(books, key, sent, 'in the outbox'));
    for (const [key, frames] of books.frames) {
      const rows = frames.flatMap(({ rkey }) => books.statuses.get(rkey) ?? []);
      findings.push(...falls(books, key, rows, 'as they came to the reader'));
    }
    return { checked: [...books.sent.values()].reduce((sum, { length }) => sum + length, 0), findings };
  },
};

const rankOf = (status: string): number => (status === 'pending' ? 0 : isEnd(status) ? 2 : 1);

function* falls(books: Books, key: string, rows: readonly StatusRow[], order: string): Generator<Finding> {
  for (const [n, row] of rows.entries()) {
    const before = rows[n - 1];
    if (!before) continue;
    const step = `${key}: ${nameOf(before)} and then ${nameOf(row)}, ${order}`;
    const later = row.attempt - before.attempt || row.epoch - before.epoch;
    if (later < 0) yield { kind: 'back', text: `${step}, which is an earlier attempt or epoch.` };
    else if (later === 0 && rankOf(row.status) < rankOf(before.status)) yield { kind: 'down', text: `${step}.` };
    else if (later > 0 && isEnd(before.status)) {
      const doubt = row.attempt > before.attempt ? noAttempt(books, key, row) : notReopened(books, key, row);
      if (doubt) yield { kind: 'unreal', text: `${step}, but ${doubt}.` };
    }
  }
}

const nameOf = ({ status, attempt, epoch, rkey, created_at: when }: StatusRow): string =>
  `${status} (attempt ${attempt}, epoch ${epoch}, ${rkey}, ${at(when)})`;

/** Why this attempt was not begun by anybody. */
function noAttempt({ evidence, attempts, builds }: Books, key: string, { pipeline, job, attempt }: StatusRow) {
  const row = attempts.get(key)?.find((one) => one.attempt === attempt);
  if (!row) return `there is no attempt ${attempt}`;
  if (row.adopted_from !== null) {
    const origin = builds.get(row.build ?? '')?.rebuiltFrom?.id;
    return origin === row.adopted_from ? undefined : `build ${row.build} was not made from ${row.adopted_from}`;
  }
  const asked = evidence.asked.some(
    (one) => one.kind === 'rerun' && one.pipeline === pipeline && (one.job === null || one.job === job),
  );
  return asked ? undefined : 'nobody asked for another attempt';
}

/** Why the build of this attempt did not go on after an end. */
function notReopened({ attempts, builds, posts }: Books, key: string, { attempt }: StatusRow): string | undefined {
  const id = attempts.get(key)?.find((one) => one.attempt === attempt)?.build;
  if (id == null) return `attempt ${attempt} has no build that could have gone on`;
  const build = builds.get(id);
  if (!build) return posts.get(id)?.provider === 'fake' ? undefined : `the CI has no build ${id}`;
  const waited = build.history.some(({ blocked }) => blocked);
  return waited || phasesOf(build).length > 1 ? undefined : `build ${id} ended once and for all`;
}
