import { type AllowRule, allows } from '../../allow.ts';
import { ProviderError } from '../errors.ts';

/** The rules that hold. Unset, everybody may use the configured organisation, and nothing else. */
export const rulesOf = ({
  allow,
  org,
}: {
  allow?: readonly AllowRule[] | undefined;
  org?: string | undefined;
}): readonly AllowRule[] => allow ?? (org === undefined ? [] : [{ repo: '**', target: `${org}/*` }]);

/** Throws when a list is there and no line of it lets this repository use this target. */
export function checkAllowed(
  rules: readonly AllowRule[] | undefined,
  repo: { did: string; name: string },
  { org, pipeline }: { org: string; pipeline: string },
): void {
  if (!rules) return;
  const name = `${repo.did}/${repo.name}`;
  const target = `${org}/${pipeline}`;
  if (allows(rules, [name], target)) return;
  throw new ProviderError(
    'Forbidden',
    `this spindle does not let ${name} use the Buildkite pipeline ${target}. Its operator can add “${name} → ${target}” to the allow-list, WHORL_BUILDKITE_ALLOW; else name another pipeline in the workflow file`,
  );
}
