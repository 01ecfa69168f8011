import type { JobView, PipelineView } from './book.ts';

/** A pipeline as lines of text, a job a line, as its page would show it. */
export function pipelineTable(knot: string, rkey: string, view: PipelineView): string {
  const names = Object.keys(view.jobs);
  const width = Math.max(3, ...names.map((name) => name.length));
  const lines = Object.entries(view.jobs).map(([name, job]) => `  ${name.padEnd(width)}  ${jobLine(job)}`);
  const done = Object.values(view.jobs).filter((job) => job.status === 'success').length;
  return [`${knot}/${rkey}  ${done}/${names.length}${view.known ? '' : '  (unknown here)'}`, ...lines].join('\n');
}

function jobLine(job: JobView): string {
  const took = job.durationMs === undefined ? '' : `${job.durationMs / 1000} s`;
  const path = job.history.map((entry) => entry.status).join(' → ');
  return [job.status.padEnd(9), took.padStart(6), path, job.error ?? ''].join('  ').trimEnd();
}
