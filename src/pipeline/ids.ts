/** `pipeline/<knot>/<rkey>`: the id of a pipeline and of its Temporal workflow. */
export type PipelineId = string & { readonly brand: 'PipelineId' };

/** One attempt of one job of one pipeline: what makes creating its build safe to repeat. */
export type RunKey = string & { readonly brand: 'RunKey' };

export const pipelineId = (knot: string, rkey: string): PipelineId => `pipeline/${knot}/${rkey}` as PipelineId;

/** The knot and rkey of a pipeline id, or undefined when the text is not one. */
export function parsePipelineId(id: string): { knot: string; rkey: string } | undefined {
  const parts = /^pipeline\/([^/]+)\/([^/]+)$/.exec(id);
  return parts?.[1] && parts[2] ? { knot: parts[1], rkey: parts[2] } : undefined;
}

export const runKey = (pipeline: PipelineId, job: string, attempt: number): RunKey =>
  `${pipeline}/${job}/${attempt}` as RunKey;

/** The task queue on which logs are brought, beside the one that workers take everything else from. */
export const logQueue = (taskQueue: string): string => `${taskQueue}-logs`;
