import { z } from 'zod';
import { ProviderError } from '../errors.ts';
import type { Health } from '../provider.ts';
import { parseJson } from './answers.ts';
import { type Http, isRefusal } from './http.ts';
import { type Identity, unreadable } from './search.ts';
import { parseTime } from './wire.ts';

const needed = ['read_builds', 'write_builds', 'read_build_logs'];
const soonMs = 14 * 24 * 3600_000;

export type TokenInfo = z.infer<typeof tokenShape>;

const tokenShape = z.object({
  scopes: z.array(z.string()).catch([]),
  expires_at: z.string().optional().catch(undefined),
  user: z
    .object({ email: z.string().optional().catch(undefined) })
    .optional()
    .catch(undefined),
});

/** `GET /access-token` needs no scope. It tells the user's name and e-mail, but no id. */
export async function readToken(http: Http, signal: AbortSignal): Promise<TokenInfo> {
  const answer = await http.call({
    method: 'GET',
    path: ['access-token'],
    key: 'access-token',
    priority: 'read',
    signal,
  });
  if (isRefusal(answer)) {
    throw new ProviderError(
      'Internal',
      `Buildkite did not describe the token (${answer.status}): ${answer.reason}. Check the API address`,
    );
  }
  const parsed = tokenShape.safeParse(parseJson(answer.bytes));
  if (!parsed.success) throw unreadable('the description of the token');
  return parsed.data;
}

/** Whose token it is, when no create answer has told it. */
export async function readIdentity(http: Http, signal: AbortSignal): Promise<Identity> {
  const email = (await readToken(http, signal)).user?.email;
  if (email) return { email };
  throw new ProviderError(
    'Forbidden',
    'Buildkite does not tell whose token this is, so our builds cannot be told from others’. Use a token of a user with an e-mail address',
  );
}

/** The scopes that we need and the token does not have. */
export const lackingScopes = ({ scopes }: TokenInfo): string[] => needed.filter((scope) => !scopes.includes(scope));

/** When the token ends, if that is soon: ms since 1970. */
export function endsSoon({ expires_at: expires }: TokenInfo): number | undefined {
  const end = parseTime(expires);
  return end !== undefined && end - Date.now() < soonMs ? end : undefined;
}

/** Whether the token can do what we need, and for how long. */
export async function readHealth(http: Http, signal: AbortSignal): Promise<Health> {
  try {
    const token = await readToken(http, signal);
    const lacking = lackingScopes(token);
    if (lacking.length > 0) {
      return { ok: false, detail: `the Buildkite token lacks ${lacking.join(', ')}; give it these scopes` };
    }
    const end = endsSoon(token);
    if (end !== undefined) {
      return { ok: true, detail: `the Buildkite token expires on ${new Date(end).toISOString()}; replace it before` };
    }
    return { ok: true, detail: 'the Buildkite token is valid and has all scopes' };
  } catch (error) {
    if (error instanceof ProviderError) return { ok: false, detail: error.message };
    throw error;
  }
}
