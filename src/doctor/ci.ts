import type { BuildkiteConfig, ToolConfig } from '../config/index.ts';
import { endsSoon, lackingScopes, readToken } from '../providers/buildkite/account.ts';
import { createHttp, isRefusal } from '../providers/buildkite/http.ts';
import { bucketOf } from '../providers/buildkite/rate.ts';
import { ProviderError } from '../providers/errors.ts';
import type { Limits } from '../providers/provider.ts';
import type { Sql } from '../store/db.ts';
import { type Budget, readBudget } from '../store/slots.ts';
import { type Check, check, checkWith, fail, lasting, type Need, need, ok, Skip, warn } from './check.ts';

/** A share of the limit below which pipelines begin to wait. */
const little = 0.1;

/** The token, what it may do, the organisation, and what is left of the rate limit. */
export function ciChecks(sql: Need<Sql>, { buildkite }: ToolConfig, timeoutMs: number): Check[] {
  if (!buildkite) {
    const off = async (): Promise<never> => {
      throw new Skip('Buildkite is not configured (WHORL_BUILDKITE_TOKEN)');
    };
    return [checkWith(off, 'token', '', off)];
  }
  const http = createHttp({
    apiUrl: buildkite.apiUrl,
    token: buildkite.token,
    limiter: unlimited,
    timeoutMs: timeoutMs * 0.9,
  });
  const signal = () => AbortSignal.timeout(timeoutMs * 0.9);

  // What our processes have learnt: while the CI refuses them, asking it makes things worse.
  const budget = need(async (): Promise<Budget | undefined> => {
    const ours = await sql().catch(() => undefined);
    return ours && readBudget(ours, bucketOf(buildkite.token()));
  });
  const token = need(async () => {
    const blocked = (await budget())?.blockedMs ?? 0;
    if (blocked > 0) throw limited();
    return readToken(http, signal());
  });
  const judged = need(async () => {
    try {
      return await token();
    } catch (error) {
      throw isLimited(error) ? new Skip('the rate limit is used up') : new Skip('the CI does not take the token');
    }
  });
  const asked = need(async () => {
    await token().catch(() => {});
    return { said: http.limits(), known: await budget() };
  });

  return [
    check('token', 'see that this machine reaches it, and check WHORL_BUILDKITE_API_URL', async () => {
      try {
        return ownWord(await token());
      } catch (error) {
        if (isLimited(error)) throw new Skip('the rate limit is used up');
        if (!(error instanceof ProviderError) || error.failure !== 'CredentialsRejected') throw error;
        const advice =
          'make a new token and put it into WHORL_BUILDKITE_TOKEN or its file; then `whorl retry --cause CredentialsRejected`';
        return fail('the CI refuses the token', advice);
      }
    }),
    checkWith(judged, 'scopes', '', async (about) => {
      const lacking = lackingScopes(about);
      if (lacking.length === 0) return ok('all that are needed');
      return fail(
        `the token lacks ${lacking.join(', ')}`,
        'give it these scopes at Buildkite, under API access tokens',
      );
    }),
    checkWith(judged, 'organisation', 'see that the CI is well', async (about) => {
      if (!about.scopes.includes('read_builds')) throw new Skip('the token may not read builds');
      return organisation(http, buildkite, signal());
    }),
    checkWith(asked, 'rate limit', '', async ({ said, known }) => rate(said, known)),
  ];
}

/** A look now and then costs no slot of the shared budget. */
const unlimited = { reserve: async () => new Date(0), block: async () => {} };

const limited = (): ProviderError => new ProviderError('RateLimited', 'the rate limit is used up');

const isLimited = (error: unknown): boolean => error instanceof ProviderError && error.failure === 'RateLimited';

function ownWord(about: Parameters<typeof endsSoon>[0]) {
  const end = endsSoon(about);
  const whose = about.user?.email === undefined ? '' : `, of ${about.user.email}`;
  if (end === undefined) return ok(`the CI takes it${whose}`);
  const advice = 'make a new one and put it into WHORL_BUILDKITE_TOKEN or its file; no restart is needed for a file';
  return warn(`it expires on ${new Date(end).toISOString().slice(0, 10)}${whose}`, advice);
}

async function organisation(http: ReturnType<typeof createHttp>, { org }: BuildkiteConfig, signal: AbortSignal) {
  if (org === undefined) throw new Skip('WHORL_BUILDKITE_ORG is not set: each workflow file names its own');
  const answer = await http.call({
    method: 'GET',
    path: ['organizations', org, 'builds'],
    query: { per_page: '1', exclude_jobs: 'true', exclude_pipeline: 'true' },
    key: 'doctor',
    priority: 'read',
    signal,
  });
  if (!isRefusal(answer)) return ok(`the token reads the builds of ${org}`);
  const advice = 'check WHORL_BUILDKITE_ORG, and that the token was given access to this organisation';
  return fail(`the CI knows no organisation ${org} for this token (${answer.status})`, advice);
}

/** What the answer to our own question said; else what our processes were told last. */
function rate(said: Limits, known: Budget | undefined) {
  const advice =
    'ask the CI for a higher limit, give Whorl a user of its own, or lower WHORL_BUILDKITE_RATE so that others keep their share';
  if ((known?.blockedMs ?? 0) > 0) {
    return fail(`it is used up: the CI takes nothing for another ${lasting(known?.blockedMs ?? 0)}`, advice);
  }
  const fresh = (known?.resetsInMs ?? 0) > 0 ? known : undefined;
  const remaining = said.remaining ?? fresh?.remaining ?? null;
  const allowed = said.limit ?? fresh?.allowed ?? null;
  if (remaining === null) throw new Skip('the CI has not told it');
  const found = `${remaining}${allowed === null ? '' : ` of ${allowed}`} requests are left in this window`;
  if (remaining === 0) return fail(found, advice);
  return allowed !== null && remaining < allowed * little ? warn(found, advice) : ok(found);
}
