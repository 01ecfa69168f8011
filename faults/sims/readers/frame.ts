import { z } from 'zod';
import { parsePipelineUri } from '../../../src/forges/tangled/uri.ts';
import type { Frame } from '../../evidence.ts';

const shape = z.object({
  rkey: z.string(),
  nsid: z.literal('sh.tangled.pipeline.status'),
  event: z.object({
    pipeline: z.string(),
    workflow: z.string(),
    status: z.string(),
    createdAt: z.string(),
    error: z.string().exactOptional(),
    exitCode: z.number().exactOptional(),
  }),
});

/** A frame of `/events` as it is kept. One that nobody could read becomes a status of no pipeline, with its text. */
export function frameOf(reader: string, text: string, connection?: number): Frame {
  const at = Date.now();
  const strange = (why: string): Frame => ({
    reader,
    at,
    rkey: '',
    knot: '',
    pipelineRkey: '',
    job: '',
    status: `unreadable (${why}): ${text.slice(0, 200)}`,
    createdAt: 0,
  });
  const parsed = shape.safeParse(jsonOf(text));
  if (!parsed.success) return strange(z.prettifyError(parsed.error));
  const { rkey, event } = parsed.data;
  const { pipeline, workflow, status, createdAt, error, exitCode } = event;
  const uri = parsePipelineUri(pipeline);
  const created = Date.parse(createdAt);
  if (!uri) return strange('no URI of a pipeline');
  if (Number.isNaN(created)) return strange('createdAt is no time');
  return {
    reader,
    ...(connection === undefined ? {} : { connection }),
    at,
    rkey,
    knot: uri.knot,
    pipelineRkey: uri.rkey,
    job: workflow,
    status,
    createdAt: created,
    ...(error === undefined ? {} : { error }),
    ...(exitCode === undefined ? {} : { exitCode }),
  };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
