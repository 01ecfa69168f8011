import { parsePipelineId, pipelineId, type PipelineId } from '../pipeline/ids.ts';
import type { Sql } from '../store/db.ts';
import { isKnown, knotsOf } from '../store/overview.ts';
import { CommandError, exitCodes, usageError } from './errors.ts';

/** What a person may type for a pipeline, for the help. */
export const pipelineArgument = ['<pipeline>', 'pipeline/<knot>/<rkey>, or <knot>/<rkey>, or the rkey alone'] as const;

/**
 * The pipeline that a person means. Its trigger is known at least.
 * @throws {CommandError} when nothing is known of it, or an rkey alone says too little
 */
export async function findPipeline(sql: Sql, text: string): Promise<PipelineId> {
  const parts = text.split('/');
  const full = parsePipelineId(parts.length === 2 ? `pipeline/${text}` : text);
  if (full) {
    if (await isKnown(sql, full)) return pipelineId(full.knot, full.rkey);
    throw unknown(text);
  }
  if (parts.length !== 1 || text === '') {
    throw usageError(
      `${JSON.stringify(text)} is not the name of a pipeline: it must be pipeline/<knot>/<rkey>, <knot>/<rkey>, or an rkey`,
    );
  }
  const [knot, ...others] = await knotsOf(sql, text);
  if (knot === undefined) throw unknown(text);
  if (others.length === 0) return pipelineId(knot, text);
  const names = [knot, ...others].map((each) => `${each}/${text}`).join(', ');
  throw new CommandError(`${text} is on several knots: say which one, of ${names}`, exitCodes.usage);
}

const unknown = (text: string): CommandError =>
  new CommandError(
    `nothing is known of a pipeline ${text}: no event of that name has come in; check the name, ` +
      'and with `whorl repos list` that its repository is served',
  );
