import { Command } from 'commander';
import { did as didForm } from '../config/forms.ts';
import { knotNameProblem } from '../ingest/knot-url.ts';
import type { RepoKey } from '../store/repos.ts';
import { usageError } from './errors.ts';

/** What a person may type for a repository. */
export type RepoName = Pick<RepoKey, 'did' | 'name'>;

/** A command about one repository. */
export const named = (name: string, description: string): Command =>
  new Command(name)
    .description(description)
    .argument('<knot>', 'host or host:port of the knot', readKnot)
    .argument('<did/name>', 'the repository: the DID of its owner and its name', readRepo);

/** Hosts are the same in any case, and knots name themselves in lower case. */
function readKnot(text: string): string {
  const problem = knotNameProblem(text);
  if (problem !== undefined) throw usageError(problem);
  return text.toLowerCase();
}

export function readRepo(text: string): RepoName {
  const [did = '', name, ...rest] = text.split('/');
  if (name === undefined || rest.length > 0) {
    throw usageError(
      `${JSON.stringify(text)} is not a repository: it must be <did>/<name>, such as did:web:alice.example/site`,
    );
  }
  if (!did.startsWith('did:')) {
    throw usageError(
      `${JSON.stringify(did)} is not a DID: give the did:plc or did:web of the repository's owner, not a handle, since a handle may change`,
    );
  }
  if (!didForm.schema.safeParse(did).success) {
    throw usageError(
      `${JSON.stringify(did)} is not a DID of Tangled: it must be did:plc and 24 characters, or did:web and a host`,
    );
  }
  if (!/^[^\s\p{Cc}]+$/u.test(name)) {
    throw usageError(`${JSON.stringify(name)} is not the name of a repository: it must be one word, and not empty`);
  }
  return { did, name };
}
