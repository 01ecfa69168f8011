import { parsePipelineId } from './ids.ts';

/** Dispatch's work is cut into this many shares; one process at a time owns a share. */
export const shares = 4;

/** The share of a pipeline (or of any other key): the same in every process, for ever (32-bit FNV-1a). */
export function shareOf(key: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(key)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash % shares;
}

/** Both forms of a pipeline's name lead to one share. */
export const shareOfPipeline = (knot: string, rkey: string): number => shareOf(`${knot}/${rkey}`);

export function shareOfPipelineId(id: string): number {
  const parts = parsePipelineId(id);
  return parts ? shareOfPipeline(parts.knot, parts.rkey) : shareOf(id);
}
