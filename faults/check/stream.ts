import type { Frame, LogRead } from '../evidence.ts';
import { type Books, cursorMs, jobKey, pipelineId, type StatusRow, wasLost } from './books.ts';
import { at, each, type Finding, type Look } from './finding.ts';

/** What readers got against what is in the outbox: all of it, nothing else, and in its order. */
export function stream(books: Books): Look {
  const { frames, logReads } = books.evidence;
  const findings = [
    ...missing(books),
    ...each(frames, (frame) => unknown(books, frame)),
    ...disorder(books),
    ...each(books.sent.values(), spacing),
    ...differentLogs(books, logReads),
  ];
  return { checked: frames.length + books.statuses.size, findings };
}

const nameOf = ({ knot, pipelineRkey, job, status, rkey }: Frame): string =>
  `${pipelineId({ knot, rkey: pipelineRkey })} ${job} ${status} (${rkey})`;

/** The faithful reader comes back with its clock at the last message, and so must miss nothing. */
function* missing({ evidence, statuses }: Books): Generator<Finding> {
  const got = new Set(evidence.frames.filter(({ reader }) => reader === 'faithful').map(({ rkey }) => rkey));
  for (const { rkey, state, pipeline, job, status, cursor } of statuses.values()) {
    if (state !== 'sent' || got.has(rkey)) continue;
    const when = at(cursorMs(cursor));
    yield {
      kind: 'missing',
      text: `${pipeline} ${job} ${status} (${rkey}), sent at ${when}, never came to the reader.`,
    };
  }
}

function* unknown(books: Books, frame: Frame): Generator<Finding> {
  const row = books.statuses.get(frame.rkey);
  const what = `${nameOf(frame)}, which came to ${frame.reader} at ${at(frame.at)},`;
  if (!row) {
    // What was published after the backup was taken is with its readers alone.
    if (!wasLost(books, frame.createdAt) && !wasLost(books, frame.at))
      yield { kind: 'unknown', text: `${what} is not in the outbox.` };
  } else if (differs(frame, row)) {
    const said = `${row.pipeline} ${row.job} ${row.status} of ${at(row.created_at)}`;
    yield { kind: 'unknown', text: `${what} is another one in the outbox: ${said}.` };
  }
}

const differs = (frame: Frame, row: StatusRow): boolean =>
  pipelineId({ knot: frame.knot, rkey: frame.pipelineRkey }) !== row.pipeline ||
  frame.job !== row.job ||
  frame.status !== row.status ||
  Math.floor(frame.createdAt) !== Math.floor(row.created_at);

/** Within one link, cursors only grow. */
function* disorder(books: Books): Generator<Finding> {
  const { evidence, statuses } = books;
  const links = Map.groupBy(
    // An end that was sent, and was withheld in the backup, is sent again with another cursor.
    evidence.frames.filter(({ connection, at: when }) => connection !== undefined && !wasLost(books, when)),
    ({ reader, connection }) => `link ${connection} of ${reader}`,
  );
  for (const [link, frames] of links) {
    let before: { frame: Frame; cursor: bigint } | undefined;
    for (const frame of frames) {
      const cursor = BigInt(statuses.get(frame.rkey)?.cursor ?? -1);
      if (cursor < 0n) continue;
      if (before && cursor <= before.cursor)
        yield { kind: 'disorder', text: `${nameOf(frame)} came after ${nameOf(before.frame)} on ${link}.` };
      before = { frame, cursor };
    }
  }
}

/** Appviews keep whole seconds, so two statuses of one job are at least one apart. A repeat is of the same time. */
function* spacing(sent: StatusRow[]): Generator<Finding> {
  const rows = sent.filter(({ resend }) => !resend);
  for (const [n, row] of rows.entries()) {
    const before = rows[n - 1];
    // Times come from the database as fractions of a second, and lose a little on the way.
    if (!before || row.created_at - before.created_at >= 999) continue;
    const gap = Math.round(row.created_at - before.created_at);
    yield {
      kind: 'spacing',
      text: `${row.pipeline} ${row.job}: ${row.status} (${row.rkey}) is of ${at(row.created_at)}, ${gap} ms after ${before.status} (${before.rkey}).`,
    };
  }
}

/** A log that has ended is the same for everybody. Only of jobs that ran once, since a later attempt has another log. */
function* differentLogs({ attempts, sent }: Books, reads: readonly LogRead[]): Generator<Finding> {
  const whole = reads.filter(({ closed }) => closed === 1000);
  const logs = Map.groupBy(whole, ({ knot, rkey, job }) => jobKey(pipelineId({ knot, rkey }), job));
  for (const [key, those] of logs) {
    const once = (attempts.get(key)?.length ?? 0) <= 1 && (sent.get(key) ?? []).every(({ epoch }) => epoch === 0);
    const kinds = new Set(those.map(({ digest }) => digest));
    if (!once || kinds.size <= 1) continue;
    const read = those.map(({ at: when, lines }) => `${lines} lines at ${at(when)}`).join(', ');
    yield { kind: 'log', text: `${key}: the log was not the same for all of its readers: ${read}.` };
  }
}
