const events = ['push', 'pull_request', 'manual', 'schedule'];

/**
 * Why a knot would read `when` in another way than its author probably means it (tangled core, `workflow/def.go`): a list
 * of conditions of which one must hold; in each the event must be named, and the branch or tag must match a pattern, where
 * no pattern matches nothing.
 */
export function* whenProblems(when: unknown): Generator<string> {
  if (when === undefined) return;
  if (!Array.isArray(when)) return yield 'when must be a list of conditions, each beginning with a dash';
  for (const [index, condition] of when.entries()) {
    const name = when.length === 1 ? 'when' : `condition ${index + 1} of when`;
    if (typeof condition !== 'object' || condition === null || Array.isArray(condition)) {
      yield `${name} must be a mapping such as “event: push”`;
      continue;
    }
    yield* conditionProblems(name, condition as Record<string, unknown>);
  }
}

function* conditionProblems(name: string, condition: Record<string, unknown>): Generator<string> {
  for (const key of ['event', 'branch', 'tag']) {
    if (condition[key] !== undefined && !texts(condition[key]))
      yield `${name}: ${key} must be a text or a list of texts`;
  }
  const named = texts(condition['event']) ?? [];
  if (named.length === 0) yield `${name} names no event, so it never holds`;
  for (const event of named) {
    if (!events.includes(event)) yield `${name}: there is no event ${event}; there are ${events.join(', ')}`;
  }
  const [branches, tags] = [texts(condition['branch']) ?? [], texts(condition['tag']) ?? []];
  if (named.includes('push') && branches.length === 0 && tags.length === 0)
    yield `${name}: a push holds only with a branch or a tag that matches, and it names none`;
  if (named.includes('pull_request') && branches.length === 0)
    yield `${name}: a pull request holds only with a branch that it is for, and it names none`;
}

function texts(value: unknown): string[] | undefined {
  const list = Array.isArray(value) ? value : [value];
  return list.every((item) => typeof item === 'string') ? list : undefined;
}
