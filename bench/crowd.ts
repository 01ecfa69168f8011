import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { endWithUs } from './roles.ts';

export type CrowdTask =
  | { kind: 'read'; url: string; readers: number; frames: number; keep?: boolean }
  | { kind: 'follow'; url: string; readers: number }
  | { kind: 'leave' };

export type CrowdReport =
  | { kind: 'read'; startedAt: number; endedAt: number; bytes: number; kept: string[] }
  | { kind: 'open' }
  | { kind: 'heard'; frame: string; at: number }
  | { kind: 'trouble'; what: string };

/** What readers got who all read the same to its end. */
export interface Read {
  /** From the first dial to the last frame of the last reader. */
  ms: number;
  /** Of all frames, without what WebSocket adds. */
  bytes: number;
  /** The frames, when they were to be kept. */
  kept: string[];
}

export interface Crowd {
  /** All readers dial at once, get so many frames each, and leave. */
  read(url: string, readers: number, frames: number, keep?: boolean): Promise<Read>;
  /** So many readers dial and stay. `onFrame` is told of each frame when the last of them has it. */
  follow(url: string, readers: number, onFrame: (frame: string, at: number) => void): Promise<void>;
  /** Rejects when a reader is lost. */
  failed: Promise<never>;
  stop(): void;
}

/** Readers of WebSockets, spread over so many processes. They do nothing with what they read but count it. */
export function startCrowd(processes: number): Crowd {
  const children = Array.from({ length: processes }, () =>
    fork(fileURLToPath(new URL('./crowd-child.ts', import.meta.url))),
  );
  const trouble = Promise.withResolvers<never>();
  trouble.promise.catch(() => {});
  for (const child of children) {
    endWithUs(child);
    child.on('message', (report: CrowdReport) => {
      if (report.kind === 'trouble') trouble.reject(new Error(`a reader failed: ${report.what}`));
    });
  }
  const ask = (child: ChildProcess, task: CrowdTask): void => void child.send(task);
  const answer = <K extends CrowdReport['kind']>(
    child: ChildProcess,
    kind: K,
  ): Promise<Extract<CrowdReport, { kind: K }>> =>
    Promise.race([
      trouble.promise,
      new Promise<Extract<CrowdReport, { kind: K }>>((resolve) => {
        const heard = (report: CrowdReport): void => {
          if (!is(report, kind)) return;
          child.off('message', heard);
          resolve(report);
        };
        child.on('message', heard);
      }),
    ]);
  const leave = (): void => children.forEach((child) => ask(child, { kind: 'leave' }));
  const share = (readers: number, n: number): number => Math.floor((readers + n) / processes);

  return {
    async read(url, readers, frames, keep = false) {
      const reports = await Promise.all(
        children.flatMap((child, n) => {
          const mine = share(readers, n);
          if (mine === 0) return [];
          const told = answer(child, 'read');
          ask(child, { kind: 'read', url, readers: mine, frames, keep });
          return [told];
        }),
      );
      leave();
      return {
        ms: Math.max(...reports.map(({ endedAt }) => endedAt)) - Math.min(...reports.map(({ startedAt }) => startedAt)),
        bytes: reports.reduce((sum, { bytes }) => sum + bytes, 0),
        kept: reports.flatMap(({ kept }) => kept),
      };
    },
    async follow(url, readers, onFrame) {
      const heard = new Map<string, number[]>();
      await Promise.all(
        children.map((child, n) => {
          child.on('message', (report: CrowdReport) => {
            if (report.kind !== 'heard') return;
            const times = [...(heard.get(report.frame) ?? []), report.at];
            heard.set(report.frame, times);
            if (times.length === processes) onFrame(report.frame, Math.max(...times));
          });
          const opened = answer(child, 'open');
          ask(child, { kind: 'follow', url, readers: share(readers, n) });
          return opened;
        }),
      );
    },
    failed: trouble.promise,
    stop: () => children.forEach((child) => child.disconnect()),
  };
}

const is = <K extends CrowdReport['kind']>(report: CrowdReport, kind: K): report is Extract<CrowdReport, { kind: K }> =>
  report.kind === kind;
