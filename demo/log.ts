import { followLog, logUrl } from '../sim/appview/log-reader.ts';
import type { World } from './world.ts';

/** The log of a job, as an appview shows it. */
export interface ReadLog {
  url: string;
  /** How many lines. */
  lines: number;
  /** The last ones, with the name of their step. */
  end: { step: string; lines: string[] };
  /** What is wrong with it; empty when all is well. */
  problems: string[];
}

/** It is there a moment after the job has ended. */
const limitMs = 15_000;

/** Reads a log to its end, as far as it comes in time. */
export async function readLog({ url, knot }: World, rkey: string, job: string): Promise<ReadLog> {
  const reader = followLog(logUrl(url, knot.host, rkey, job));
  const late = await reader.ended(limitMs).then(
    () => [],
    () => [`the log of ${job} did not end within ${limitMs / 1000} s`],
  );
  const { blocks, lineCount, problems, refused, closed } = reader.view();
  reader.close();
  const answer = refused === undefined ? [] : [`the log of ${job} is answered with ${refused}`];
  const end = closed === undefined || closed.code === 1000 ? [] : [`the log of ${job} was closed with ${closed.code}`];
  const last = blocks.findLast(({ lines }) => lines.length > 0);
  const shown = (last?.lines ?? []).filter((line) => line.trim() !== '');
  return {
    url: logUrl(url, knot.host, rkey, job),
    lines: lineCount,
    end: { step: last?.name ?? '', lines: shown.slice(-4) },
    problems: [...late, ...answer, ...end, ...problems],
  };
}
