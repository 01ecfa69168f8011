import { NSID } from './nsid.ts';
import { pipelineUri } from './uri.ts';

/** the six words that a `sh.tangled.pipeline.status` may hold; an appview shows any other as failed */
export const STATUSES = ['pending', 'running', 'success', 'failed', 'timeout', 'cancelled'] as const;
export type Status = (typeof STATUSES)[number];

export type StatusInput = {
  /** host of the knot, with its port, as the trigger named it */
  knot: string;
  /** rkey of the pipeline's record */
  rkey: string;
  /** name of the workflow file, byte for byte as the trigger named it */
  workflow: string;
  status: Status;
  /** RFC 3339 in UTC, with milliseconds; appviews keep whole seconds */
  createdAt: string;
  error?: string | undefined;
  exitCode?: number | undefined;
};

export type StatusRecord = {
  $type: typeof NSID.pipelineStatus;
  pipeline: string;
  workflow: string;
  status: Status;
  createdAt: string;
  error?: string;
  exitCode?: number;
};

/**
 * A `sh.tangled.pipeline.status` record. Go servers leave `$type` empty, but only as an accident of their encoder; the
 * lexicon asks for the literal, and Go readers take any string.
 */
export function statusRecord(input: StatusInput): StatusRecord {
  return {
    $type: NSID.pipelineStatus,
    pipeline: pipelineUri(input.knot, input.rkey),
    workflow: input.workflow,
    status: input.status,
    createdAt: input.createdAt,
    ...(input.error ? { error: shownError(input.error) } : {}),
    ...(input.exitCode === undefined ? {} : { exitCode: input.exitCode }),
  };
}

/** Every reader of `/events` gets each error, and keeps up to a thousand of them waiting: nobody reads more than this. */
const longestError = 2_000;

/** Errors quote what strangers wrote: controls but line ends, and what is not seen but the two joiners, are replaced. */
function shownError(error: string): string {
  const text = error.length > longestError ? `${error.slice(0, longestError)}…` : error;
  return text
    .toWellFormed()
    .replaceAll('\r\n', '\n')
    .replaceAll(/(?![\n\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\ufffd');
}

/**
 * The text of one frame on our `/events`.
 * @param statusRkey the status's own rkey, a fresh TID: appviews drop a second frame with the same one
 */
export function statusFrame(statusRkey: string, input: StatusInput): string {
  return JSON.stringify({ event: statusRecord(input), nsid: NSID.pipelineStatus, rkey: statusRkey });
}
