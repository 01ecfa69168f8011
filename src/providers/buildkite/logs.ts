import { z } from 'zod';
import { isEnd } from '../../pipeline/status.ts';
import type { LogChunk } from '../provider.ts';
import { observe } from './state.ts';
import type { BuildkiteBuild, BuildkiteJob } from './wire.ts';

/** What is told already: whole jobs, and how many bytes of the one that was running. */
const cursorShape = z.object({
  done: z.array(z.string()),
  open: z.object({ job: z.string(), bytes: z.int().nonnegative() }).optional(),
});

type Cursor = z.infer<typeof cursorShape>;

/** One call makes at most this many log requests; the caller comes back for more. */
const jobsPerCall = 4;

/** Job states in which no more lines come. */
const over = new Set(['passed', 'failed', 'canceled', 'timed_out', 'expired', 'skipped', 'broken', 'waiting_failed']);

/**
 * The next part of a build's log: its script jobs one after the other, each under a line with its name. A job that still
 * runs is told up to its last whole line, and the jobs after it wait.
 *
 * `read` gives a job's raw log (empty when there is none).
 */
export async function readLogs(
  build: BuildkiteBuild,
  from: string,
  read: (job: string) => Promise<{ bytes: Buffer; truncated: boolean }>,
): Promise<LogChunk> {
  const cursor = parseCursor(from);
  const seen = observe(build);
  const parts: string[] = [];
  let requests = 0;
  const stopAt = (complete: boolean): LogChunk => ({ text: parts.join(''), cursor: JSON.stringify(cursor), complete });

  for (const job of scripts(build)) {
    if (cursor.done.includes(job.id)) continue;
    if (requests === jobsPerCall) return stopAt(false);
    requests += 1;
    const { bytes, truncated } = await read(job.id);
    const ended = over.has(job.state ?? '') || truncated;
    const told = cursor.open?.job === job.id ? cursor.open.bytes : 0;
    const end = ended ? bytes.length : bytes.lastIndexOf(0x0a) + 1;
    if (end > told) {
      if (told === 0) parts.push(`==> ${job.name ?? 'job'}\n`);
      parts.push(bytes.subarray(told, end).toString('utf8').replaceAll('\0', ''));
    }
    if (!ended) {
      cursor.open = { job: job.id, bytes: Math.max(told, end) };
      return stopAt(false);
    }
    if (end > 0 && bytes[end - 1] !== 0x0a) parts.push('\n');
    if (truncated) parts.push('==> the rest of this log is too long; see it in Buildkite\n');
    cursor.done.push(job.id);
    delete cursor.open;
  }
  return stopAt(seen !== undefined && isEnd(seen.status) && !build.blocked);
}

/** The jobs that can have a log and were started, in the order of their making; ties keep Buildkite's order. */
function scripts(build: BuildkiteBuild): BuildkiteJob[] {
  const started = (build.jobs ?? []).filter((job) => job.type === 'script' && job.started_at);
  return started.sort((a, b) => (a.created_at ?? '').localeCompare(b.created_at ?? ''));
}

function parseCursor(text: string): Cursor {
  if (text === '') return { done: [] };
  try {
    return cursorShape.parse(JSON.parse(text));
  } catch {
    // Not ours: the beginning is always right.
    return { done: [] };
  }
}
