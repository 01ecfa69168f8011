import { ProviderError } from '../errors.ts';
import type { BuildRef, LogPart, LogPlace, LogRequest } from '../provider.ts';
import { type Http, isRefusal } from './http.ts';
import { type LogDecoder, logDecoder } from './log-format.ts';
import { buildPath, isGone } from './read.ts';

/** The end of a job's log: its bytes from `start` up to `total`, which is all that there is now. */
export interface Opened {
  start: number;
  total: number;
  chunks(): AsyncIterable<Uint8Array>;
  close(): void;
}

/** How much is asked for when little is expected. What more a log has grown by is known only from the answer. */
const glance = 64 * 1024;

/** A part is given when it has so many bytes or lines. */
const partBytes = 64 * 1024;
const partLines = 1024;

/**
 * Opens the last `bytes` of a job's log, or all of it if it has fewer; undefined when there is none. Buildkite knows no
 * other ranges, and tells the length only with one; without a range it mends the text, so that places would not fit.
 */
export async function openLog(
  http: Http,
  ref: BuildRef,
  job: string,
  bytes: number,
  signal: AbortSignal,
): Promise<Opened | undefined> {
  const answer = await http.stream({
    method: 'GET',
    path: buildPath(ref, 'jobs', job, 'log'),
    // A compressed answer would count other bytes.
    headers: { accept: 'text/plain', 'accept-encoding': 'identity', range: `bytes=-${bytes}` },
    key: `log/${job}`,
    priority: 'log',
    signal,
  });
  if (isRefusal(answer)) {
    // The range of an empty log cannot be had.
    if (answer.status === 416) return { start: 0, total: 0, chunks: async function* () {}, close: () => {} };
    if (isGone(answer, ref)) return undefined;
    throw new ProviderError(
      'Internal',
      `Buildkite did not give the log of job ${job} (${answer.status}): ${answer.reason}`,
    );
  }
  const { start, total } = rangeOf(answer.status, answer.headers) ?? {};
  if (start === undefined || total === undefined) {
    answer.close();
    throw new ProviderError('Internal', `Buildkite’s answer about the log of job ${job} does not say how long it is`);
  }
  return { start, total, close: answer.close, chunks: () => whole(answer.chunks(), total - start, job) };
}

/** A 200 is the whole log: what was asked is more than there is, or the range was not heeded. */
function rangeOf(status: number, headers: Headers): { start: number; total: number } | undefined {
  if (status !== 206) {
    const length = headers.get('content-length') ?? '';
    return /^\d+$/.test(length) ? { start: 0, total: Number(length) } : undefined;
  }
  const [, start, last, total] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(headers.get('content-range') ?? '') ?? [];
  if (total === undefined || Number(last) + 1 !== Number(total)) return undefined;
  return { start: Number(start), total: Number(total) };
}

/** Passes on exactly so many bytes; fewer are a connection that was cut. */
async function* whole(chunks: AsyncIterable<Uint8Array>, bytes: number, job: string): AsyncGenerator<Uint8Array> {
  let left = bytes;
  for await (const chunk of chunks) {
    yield chunk.subarray(0, left);
    left -= Math.min(chunk.length, left);
  }
  if (left > 0) throw new ProviderError('Transient', `the log of Buildkite job ${job} came only in part`);
}

/**
 * A job's log from a place on. `open` opens the end of it (`openLog`). What has been given stays good when it throws in
 * the middle.
 */
export async function* readLog(
  open: (bytes: number) => Promise<Opened | undefined>,
  { step, from, ended, most, head = Math.floor(most / 2) }: LogRequest,
): AsyncGenerator<LogPart> {
  if (step.remark !== undefined) return;
  let place = from;
  let log = await open(from.bytes === 0 ? Math.max(most, 1) : glance);
  try {
    if (log && log.total < place.bytes) {
      // Asked once more: this may be the word of a server that lags behind.
      log.close();
      log = await open(glance);
      if (log && log.total < place.bytes) {
        place = { bytes: 0, at: null };
        yield { lines: [], place, again: true };
      }
    }
    if (log) log = await reach(open, log, place);
    if (!log) return;

    const news = log.total - place.bytes;
    if (news < 0) throw changed();
    if (news === 0) return;
    const first = logDecoder(place);
    if (news <= most) {
      yield* decode(first, slices(log, place.bytes, log.total), ended);
      return;
    }

    // Too much of it: the beginning, up to its last whole line, and the end, from its first whole line on.
    if (head > 0) yield* decode(first, slices(log, place.bytes, place.bytes + head), false);
    log.close();
    log = await open(Math.max(most - head, 1));
    if (!log) return;
    if (log.total < place.bytes + news) throw changed();
    yield* decodeEnd(first.place, log, ended);
  } finally {
    log?.close();
  }
}

/** Opens the log anew until it begins at the place or before. It may grow between two requests, each time by more. */
async function reach(
  open: (bytes: number) => Promise<Opened | undefined>,
  opened: Opened,
  place: LogPlace,
): Promise<Opened | undefined> {
  let log: Opened | undefined = opened;
  for (let spare = glance; log && log.start > place.bytes; spare *= 8) {
    if (spare > 8 ** 4 * glance || log.total < place.bytes) throw changed();
    log.close();
    log = await open(log.total - place.bytes + spare);
  }
  return log;
}

const changed = (): ProviderError =>
  new ProviderError('Transient', 'the log of a Buildkite job changed too much while it was read');

/** The bytes from `start` to `end`, in chunks of at most 64 KiB. */
async function* slices(log: Opened, start: number, end: number): AsyncGenerator<Uint8Array, void, undefined> {
  let at = log.start;
  for await (const chunk of log.chunks()) {
    const stop = Math.min(chunk.length, end - at);
    for (let from = Math.max(0, start - at); from < stop; from += glance) {
      yield chunk.subarray(from, Math.min(from + glance, stop));
    }
    at += chunk.length;
    if (at >= end) return;
  }
}

/** The lines of these chunks. `closed`: the last one needs no line end. */
async function* decode(
  decoder: LogDecoder,
  chunks: AsyncIterable<Uint8Array>,
  closed: boolean,
): AsyncGenerator<LogPart, void, undefined> {
  let lines: LogPart['lines'] = [];
  let told = decoder.place.bytes;
  const part = (): LogPart => {
    const made = { lines, place: decoder.place };
    lines = [];
    told = decoder.place.bytes;
    return made;
  };
  for await (const chunk of chunks) {
    for (const line of decoder.push(chunk)) lines.push(line);
    if (decoder.place.bytes - told >= partBytes || lines.length >= partLines) yield part();
  }
  if (closed) lines.push(...decoder.end());
  if (decoder.place.bytes > told) yield part();
}

/** The lines of the end of a log whose middle is left out, from the first whole one on. */
async function* decodeEnd(before: LogPlace, log: Opened, ended: boolean): AsyncGenerator<LogPart> {
  const chunks = slices(log, log.start, log.total);
  let at = log.start;
  for (let next = await chunks.next(); !next.done; next = await chunks.next()) {
    const end = next.value.indexOf(0x0a);
    if (end < 0) {
      at += next.value.length;
      continue;
    }
    const place = { bytes: at + end + 1, at: before.at };
    yield { lines: [], place, skipped: place.bytes - before.bytes };
    yield* decode(logDecoder(place), joined(next.value.subarray(end + 1), chunks), ended);
    return;
  }
  // All of it is the rest of one line. While it grows, that line may still end.
  if (ended) yield { lines: [], place: { bytes: log.total, at: before.at }, skipped: log.total - before.bytes };
}

async function* joined(first: Uint8Array, rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield first;
  yield* rest;
}
