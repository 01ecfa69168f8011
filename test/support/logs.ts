import { once } from 'node:events';
import { type ClientOptions, WebSocket } from 'ws';
import { logLine, stepEnd, stepStart } from '../../src/forges/tangled/log.ts';
import type { PipelineId } from '../../src/pipeline/ids.ts';
import type { Status } from '../../src/pipeline/status.ts';
import type { AttemptKey } from '../../src/store/builds.ts';
import type { Sql } from '../../src/store/db.ts';
import { packEntries } from '../../src/store/log-chunks.ts';
import { appendLog, completeLog, openLog } from '../../src/store/logs.ts';
import { publishStatuses } from '../../src/store/statuses.ts';

const start = Date.UTC(2026, 0, 10, 12);

/** Entries as activities write them: the lines of one step, which is opened before and closed after them if wanted. */
export function entriesOf(step: number, texts: string[], { open = false, close = false } = {}): string[] {
  const about = { step, name: `Step ${step}`, at: start };
  return [
    ...(open ? [stepStart(about)] : []),
    ...texts.map((text, n) => logLine({ step, text, at: start + n })),
    ...(close ? [stepEnd(about)] : []),
  ];
}

/** Writes a log as activities do; one call, one chunk. */
export function logWriter(sql: Sql, key: AttemptKey) {
  return {
    key,
    async append(entries: string[]): Promise<void> {
      const log = await openLog(sql, key);
      if (!log) throw new Error(`there is no job ${key.job}`);
      const { added } = await appendLog(sql, key, {
        after: log,
        chunks: [await packEntries(entries)],
        bytes: entries.join('\n').length,
        steps: 1,
        step: { step: 'one', position: 0, about: { id: 'one', name: 'one', state: 'running' }, place: 0, done: false },
      });
      if (!added) throw new Error('somebody else writes this log');
    },
    async complete(epoch = 0): Promise<void> {
      await openLog(sql, key);
      await completeLog(sql, key, epoch);
    },
  };
}

export const sayOf = (sql: Sql, pipeline: PipelineId, job: string, status: Status, error?: string, attempt = 1) =>
  publishStatuses(sql, pipeline, [{ job, attempt, epoch: 0, status, ...(error === undefined ? {} : { error }) }]);

/**
 * A plain reader of `/logs`. `path` is what comes after that, sent as it is; characters above U+00FF cannot be.
 * Resolves when it is connected.
 */
export async function readLogs(base: string, path: string, options: ClientOptions = {}) {
  const socket = new WebSocket(base.replace(/^http/, 'ws'), {
    ...options,
    finishRequest(request) {
      request.path = `/logs/${path}`;
      request.end();
    },
  });
  const frames: string[] = [];
  let pings = 0;
  socket.on('message', (data, isBinary) => frames.push(isBinary ? 'BINARY' : (data as Buffer).toString()));
  socket.on('ping', () => pings++);
  const closed = once(socket, 'close').then(([code, reason]) => ({ code: code as number, reason: String(reason) }));
  closed.catch(() => {});
  await once(socket, 'open');
  return {
    socket,
    frames,
    contents: () => frames.map((frame) => (JSON.parse(frame) as { content: string }).content),
    pings: () => pings,
    closed,
    async close() {
      socket.close();
      await closed;
    },
  };
}

/** The whole of a log that is over, and how the reader was told. */
export async function readToEnd(base: string, path: string) {
  const { frames, closed } = await readLogs(base, path);
  return { frames, ...(await closed) };
}
