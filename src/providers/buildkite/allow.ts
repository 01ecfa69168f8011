import { ProviderError } from '../errors.ts';

/** One line of an operator's allow-list: which repositories may use which targets. */
export interface AllowRule {
  /** Asked with `did/name`. */
  repo: (name: string) => boolean;
  /** Asked with `org/pipeline`. */
  target: (orgPipeline: string) => boolean;
}

/** Throws when a list is there and no line of it lets this repository use this target. */
export function checkAllowed(
  rules: AllowRule[] | undefined,
  repo: { did: string; name: string },
  { org, pipeline }: { org: string; pipeline: string },
): void {
  if (!rules) return;
  const name = `${repo.did}/${repo.name}`;
  const target = `${org}/${pipeline}`;
  if (rules.some((rule) => rule.repo(name) && rule.target(target))) return;
  throw new ProviderError(
    'Forbidden',
    `this spindle does not let ${name} use the Buildkite pipeline ${target}. Its operator can add “${name} → ${target}” to the allow-list; else name another pipeline in the workflow file`,
  );
}
