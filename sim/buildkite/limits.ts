/** Requests per window for an organisation and for a user. `off` shows the real headers and never refuses. */
export interface Limits {
  readonly organization: number;
  readonly user: number;
  /** Length of the window in milliseconds. */
  readonly window: number;
}

export interface Allowance {
  readonly headers: Record<string, string>;
  /** The limit that was passed, or null. */
  readonly exceeded: { scope: 'rest' | 'rest_user'; limit: number; current: number; reset: number } | null;
}

/** What Buildkite documents: 200 a minute for an organisation, 50 for a user. */
export const REAL_LIMITS: Limits = { organization: 200, user: 50, window: 60_000 };

/** Counts requests in fixed windows, as the documented `reset` seconds imply. */
export interface Limiter {
  set(limits: Limits | 'off'): void;
  /** Counts one request, refused ones too. */
  take(organization: string, user: string): Allowance;
  /** Without counting: what the rate limit endpoint answers. */
  look(organization: string): { limit: number; current: number; reset: number };
}

/** Makes a limiter with empty windows. */
export function createLimiter(now: () => number, initial: Limits | 'off'): Limiter {
  let limits = initial;
  let windows = new Map<string, { from: number; count: number }>();

  const windowOf = (key: string): { from: number; count: number } => {
    const { window } = limits === 'off' ? REAL_LIMITS : limits;
    const from = now() - (now() % window);
    const known = windows.get(key);
    if (known?.from === from) return known;
    const fresh = { from, count: 0 };
    windows.set(key, fresh);
    return fresh;
  };
  const state = (key: string, limit: number): { limit: number; current: number; reset: number } => {
    const { window } = limits === 'off' ? REAL_LIMITS : limits;
    const { from, count } = windowOf(key);
    return { limit, current: count, reset: Math.max(1, Math.ceil((from + window - now()) / 1000)) };
  };

  return {
    set(next) {
      limits = next;
      windows = new Map();
    },
    take(organization, user) {
      const enforced = limits !== 'off';
      const { organization: orgLimit, user: userLimit } = limits === 'off' ? REAL_LIMITS : limits;
      windowOf(`rest ${organization}`).count++;
      windowOf(`user ${user}`).count++;
      const org = state(`rest ${organization}`, orgLimit);
      const own = state(`user ${user}`, userLimit);
      // Without limits a client that paces itself by these numbers must never see the end of them.
      const remaining = (one: typeof org): number => (enforced ? Math.max(0, one.limit - one.current) : one.limit - 1);
      const headers: Record<string, string> = {
        'RateLimit-Scope': 'rest',
        'RateLimit-Remaining': String(remaining(org)),
        'RateLimit-Limit': String(org.limit),
        'RateLimit-Reset': String(org.reset),
        'RateLimit-User-Scope': 'rest_user',
        'RateLimit-User-Remaining': String(remaining(own)),
        'RateLimit-User-Limit': String(own.limit),
        'RateLimit-User-Reset': String(own.reset),
      };
      const exceededOrg = enforced && org.current > org.limit;
      const exceededUser = enforced && own.current > own.limit;
      if (exceededOrg) headers['RateLimit-Warning'] = 'organization rate limit exceeded';
      if (exceededUser) headers['RateLimit-User-Warning'] = 'user rate limit exceeded';
      const exceeded = exceededUser
        ? { scope: 'rest_user' as const, ...own }
        : exceededOrg
          ? { scope: 'rest' as const, ...org }
          : null;
      return { headers, exceeded };
    },
    look(organization) {
      return state(`rest ${organization}`, limits === 'off' ? REAL_LIMITS.organization : limits.organization);
    },
  };
}

/** Body of a 429. */
export function tooMany(exceeded: NonNullable<Allowance['exceeded']>): Record<string, unknown> {
  const { scope, limit, current, reset } = exceeded;
  return {
    message: `You have exceeded your API rate limit. Please wait ${reset} seconds before making more requests.`,
    scope,
    limit,
    current,
    reset,
  };
}
