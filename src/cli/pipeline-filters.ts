import { type Command, InvalidArgumentError, Option } from 'commander';
import type { ListedPipeline, PipelineFilter } from '../store/pipeline-list.ts';
import { usageError } from './errors.ts';
import { readWhen, whenForm } from './when.ts';

export const pipelineStates = [
  'open',
  'parked',
  'pending',
  'running',
  'success',
  'failed',
  'timeout',
  'cancelled',
] as const;

export interface FilterOptions {
  readonly repo?: { did?: string; repo?: string };
  readonly branch?: string;
  readonly state?: (typeof pipelineStates)[number];
  readonly parked?: string | true;
  readonly since?: Date;
  readonly olderThan?: Date;
}

/** Adds the options that choose pipelines. */
export const withFilters = (command: Command): Command =>
  command
    .addOption(
      new Option('--repo <repo>', 'of one repository: <did>/<name>, or its name, or a DID').argParser(readRepo),
    )
    .option('--branch <branch>', 'of one branch or tag')
    .addOption(new Option('--state <state>', 'those that are so now; open: not at an end').choices(pipelineStates))
    .option('--parked [cause]', 'those of which a job waits for the operator, for any cause or for this one')
    .addOption(new Option('--since <when>', `not older than this: ${whenForm}`).argParser((text) => readWhen(text)))
    .addOption(
      new Option('--older-than <when>', 'older than this, in the same forms').argParser((text) => readWhen(text)),
    );

export function filterOf({ repo, branch, state, parked, since, olderThan }: FilterOptions): PipelineFilter {
  if (parked !== undefined && state !== undefined && state !== 'parked') {
    throw usageError(`--parked and --state ${state} exclude each other: leave one of them away`);
  }
  return {
    ...repo,
    branch,
    state: parked === undefined ? state : 'parked',
    cause: typeof parked === 'string' ? parked : undefined,
    since,
    before: olderThan,
  };
}

function readRepo(text: string): { did?: string; repo?: string } {
  const [first = '', name, ...rest] = text.split('/');
  if (rest.length > 0 || first === '' || name === '') {
    throw new InvalidArgumentError('It must be <did>/<name>, or the name of a repository, or a DID.');
  }
  if (name !== undefined) return { did: first, repo: name };
  return first.startsWith('did:') ? { did: first } : { repo: first };
}

/** A place in the list, as a word that nobody needs to understand. */
export const cursorOf = ({ place, id }: Pick<ListedPipeline, 'place' | 'id'>): string =>
  Buffer.from(id.replace(/^pipeline\//, `${place}/`)).toString('base64url');

export function readCursor(text: string): { place: string; id: string } {
  const [, place, name] = /^(\d{1,18})\/([^/]+\/[^/]+)$/.exec(Buffer.from(text, 'base64url').toString()) ?? [];
  if (place !== undefined && name !== undefined) return { place, id: `pipeline/${name}` };
  throw usageError(`--after takes the word that the last page ended with, and not ${JSON.stringify(text)}`);
}
