import { createHash } from 'node:crypto';
import WebSocket from 'ws';
import { createLogPage, type LogPage } from './log.ts';

export interface LogOptions {
  /** false: neither frames nor lines are kept, only counted; for long logs. Default true */
  keep?: boolean;
}

/** A log as far as it was read. */
export interface LogView extends LogPage {
  /** HTTP status of a dial that was refused before the upgrade: the page shows no log */
  refused?: number;
  /** how the stream ended; absent while it goes on */
  closed?: { code: number; reason: string; graceful: boolean };
  /** lines that are shown */
  lineCount: number;
  /** the text frames as they came */
  frames: string[];
  frameCount: number;
  /** of all text frames so far, each with a line feed: equal for two readers that got the same bytes */
  readonly digest: string;
}

/**
 * The URL of a job's log, put together as an appview does: nothing in it is encoded by hand, a client encodes what it
 * must. `spindle` is `http://host`, `ws://host`, or a bare host, which is dialled by wss.
 */
export function logUrl(spindle: string, knot: string, rkey: string, workflow: string): string {
  const base = spindle.includes('://') ? spindle.replace(/^http/, 'ws') : `wss://${spindle}`;
  return [base.replace(/\/$/, ''), 'logs', knot, rkey, workflow].join('/');
}

/** Follows a log. It never dials again: a person would reload the page. */
export function followLog(url: string, { keep = true }: LogOptions = {}) {
  const page = createLogPage({ keepLines: keep });
  const hash = createHash('sha256');
  const frames: string[] = [];
  const changed = new Set<() => void>();
  let frameCount = 0;
  let refused: number | undefined;
  let closed: LogView['closed'];

  const broken: string[] = [];
  const tell = (): void => changed.forEach((check) => check());
  const ws = new WebSocket(url, { perMessageDeflate: false, handshakeTimeout: 10_000, maxPayload: 0 });
  ws.on('message', (data: Buffer) => {
    const text = data.toString('utf8');
    frameCount++;
    hash.update(data).update('\n');
    if (keep) frames.push(text);
    page.receive(text);
    tell();
  });
  ws.on('unexpected-response', (request, response) => {
    refused = response.statusCode ?? 0;
    request.destroy();
    ws.terminate();
  });
  ws.on('error', (error) => broken.push(`the stream broke: ${error.message}`));
  const over = new Promise<void>((resolve) => ws.on('close', () => resolve()));
  ws.on('close', (code, reason) => {
    if (refused === undefined)
      closed = { code, reason: reason.toString('utf8'), graceful: [1000, 1001, 1006].includes(code) };
    tell();
  });

  const view = (): LogView => {
    const { blocks, lost, problems } = page.page(closed !== undefined);
    return {
      blocks,
      lost,
      problems: [...(refused === undefined ? broken : []), ...problems],
      ...(refused !== undefined && { refused }),
      ...(closed !== undefined && { closed }),
      lineCount: page.lines(),
      frames,
      frameCount,
      get digest() {
        return hash.copy().digest('hex');
      },
    };
  };
  const inVain = (ms: number): Error => {
    const { blocks, lost, problems } = page.page();
    const state = JSON.stringify({ frames: frameCount, closed, refused, problems, lost, blocks }, null, 2);
    return new Error(`the reader of ${url} waited ${ms} ms in vain; it has ${state.slice(0, 5_000)}`);
  };
  /** Resolves with the first view that `done` accepts; it is asked after each frame and at the end. */
  const wait = (done: (view: LogView) => boolean, ms = 20_000): Promise<LogView> =>
    new Promise((resolve, reject) => {
      const finish = (act: () => void): void => {
        clearTimeout(timer);
        changed.delete(check);
        act();
      };
      const check = (): void => {
        const now = view();
        if (done(now)) finish(() => resolve(now));
      };
      const timer = setTimeout(() => finish(() => reject(inVain(ms))), ms);
      changed.add(check);
      check();
    });

  return {
    view,
    wait,
    /** Resolves when the stream has ended, however. */
    async ended(ms = 20_000): Promise<LogView> {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(inVain(ms)), ms);
      });
      await Promise.race([over, late]).finally(() => clearTimeout(timer));
      return view();
    },
    /** Takes no more frames off its socket, as a stuck reader. */
    stall: (): void => ws.pause(),
    resume: (): void => ws.resume(),
    close: (): void => ws.terminate(),
  };
}

/** Reads a log to its end: what a person would see then. Rejects if it has not ended after `ms`. */
export async function readLog(
  url: string,
  { ms = 20_000, ...options }: LogOptions & { ms?: number } = {},
): Promise<LogView> {
  const reader = followLog(url, options);
  try {
    return await reader.ended(ms);
  } finally {
    reader.close();
  }
}

/** A log as lines of text, about as its page would show it. */
export function logText({ blocks, refused, closed, problems }: LogView): string {
  const took = (ms: number | undefined): string => (ms === undefined ? 'running' : `${Math.round(ms / 1000)} s`);
  const lines = blocks.flatMap(({ name, command, kind, durationMs, lines: content }) => [
    `${kind === 'system' ? '▸' : '▾'} ${name}  (${took(durationMs)})`,
    ...(command === '' ? [] : [`  $ ${command}`]),
    ...content.map((line) => `  ${line}`),
  ]);
  if (refused !== undefined) return `no log: the spindle answers ${refused}`;
  const end = closed ? [`closed with ${closed.code} ${closed.reason}`.trimEnd()] : [];
  return [...lines, ...end, ...problems.map((problem) => `! ${problem}`)].join('\n');
}
