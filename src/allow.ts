import picomatch from 'picomatch';

/** One rule of an operator's allow-list: repositories that may use targets. Both sides are globs of two parts. */
export interface AllowRule {
  /** `did-or-handle/repo` */
  readonly repo: string;
  /** `org/pipeline` */
  readonly target: string;
}

/** A leading `!` would turn a rule into "everything else", which nobody wants by accident; names may begin with a dot. */
const globbing = { dot: true, nonegate: true } as const;

/**
 * Whether a repository may use a target.
 * @param names of the repository: `did/repo`, or `handle/repo`
 * @param target `org/pipeline`
 */
export function allows(rules: readonly AllowRule[], names: readonly string[], target: string): boolean {
  return rules.some(
    (rule) =>
      picomatch.isMatch(target, rule.target, globbing) &&
      names.some((name) => picomatch.isMatch(name, rule.repo, globbing)),
  );
}
