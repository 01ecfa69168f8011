import { type AllowRule, allows } from '../../allow.ts';
import { AccountInactive, ClientError } from '../../clients/error.ts';
import type { AccountNames } from '../../clients/names.ts';
import { ProviderError } from '../errors.ts';

/** What allow-list rules with handles are checked against. */
export type Names = Omit<AccountNames, 'close'>;

export interface Allow {
  /** Unset: every repository may use every target. */
  rules?: readonly AllowRule[] | undefined;
  /** Absent: no handle is known. */
  names?: Names | undefined;
}

interface Repo {
  did: string;
  name: string;
}

/** The rules that hold. Unset, everybody may use the configured organisation, and nothing else. */
export const rulesOf = ({
  allow,
  org,
}: {
  allow?: readonly AllowRule[] | undefined;
  org?: string | undefined;
}): readonly AllowRule[] => allow ?? (org === undefined ? [] : [{ repo: '**', target: `${org}/*` }]);

/** Whether a rule may mean a handle; where any account will do, its DID does. */
export const isOfHandle = ({ repo }: AllowRule): boolean => !/^(?:did:|\*{1,2}(?:\/|$))/.test(repo);

/**
 * Throws `Forbidden` when a list is there and no line of it lets this repository use this target, and `Transient` when that
 * cannot be told now. The network is asked only where a rule for the target may mean a handle, and whose a handle is only
 * where the account claims one that a rule has.
 */
export async function checkAllowed(
  { rules, names }: Allow,
  repo: Repo,
  { org, pipeline }: { org: string; pipeline: string },
  signal: AbortSignal,
): Promise<void> {
  if (!rules) return;
  const target = `${org}/${pipeline}`;
  if (allows(rules, [`${repo.did}/${repo.name}`], target)) return;
  const handles = rules.filter((rule) => isOfHandle(rule) && allows([{ ...rule, repo: '**' }], ['a/b'], target));
  const unconfirmed = names && handles.length > 0 ? await unlessHeld(handles, repo, target, names, signal) : '';
  if (unconfirmed === undefined) return;
  const name = `${repo.did}/${repo.name}`;
  throw new ProviderError(
    'Forbidden',
    `this spindle does not let ${name} use the Buildkite pipeline ${target}${unconfirmed}. Its operator can add “${name} → ${target}” to the allow-list, WHORL_BUILDKITE_ALLOW; else name another pipeline in the workflow file`,
  );
}

/** Undefined when the account has a handle that the rules let through; else what is to be said of its handle. */
async function unlessHeld(
  rules: readonly AllowRule[],
  { did, name }: Repo,
  target: string,
  names: Names,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const handle = await names.handleOf(did, signal);
    const named = handle !== undefined && allows(rules, [`${handle}/${name}`], target);
    const holder = named ? await names.didOf(handle, signal) : undefined;
    if (holder === did) return undefined;
    // It may be mended before the step is tried again.
    for (const each of [did, handle]) if (each !== undefined) names.forget(each);
    if (!named) return '';
    return ` (it says that it is ${handle}, which is the handle of ${holder ?? 'nobody'})`;
  } catch (error) {
    const inactive = error instanceof AccountInactive;
    if (!inactive && !(error instanceof ClientError)) throw error;
    names.forget(did);
    if (inactive || isFinal(error)) return ` (its handle is not to be had: ${error.message})`;
    const { retryAt } = error;
    throw new ProviderError(
      'Transient',
      `whether the allow-list names ${did}/${name} by its handle cannot be told now: ${error.message}`,
      { cause: error, ...(retryAt ? { retryAt } : {}) },
    );
  }
}

/** What another try would not change. */
const isFinal = ({ kind, status = 0, retryAt }: ClientError): boolean =>
  kind === 'status' ? status < 500 && retryAt === undefined : kind !== 'unreachable' && kind !== 'timeout';
