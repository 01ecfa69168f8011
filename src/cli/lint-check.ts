import { accountNames } from '../clients/names.ts';
import type { BuildkiteConfig, ToolConfig } from '../config/index.ts';
import { lackingScopes, readToken } from '../providers/buildkite/account.ts';
import { checkAllowed, rulesOf } from '../providers/buildkite/allow.ts';
import { createHttp, isRefusal } from '../providers/buildkite/http.ts';
import { parseTarget } from '../providers/buildkite/plan.ts';
import { ProviderError } from '../providers/errors.ts';
import type { RepoName } from './repo-arguments.ts';

/** What became of a question: a sentence, and whether the answer is good. */
export interface Answer {
  ok: boolean;
  detail: string;
}

/** For all that is asked about the handle of an account. */
const namesMs = 20_000;

/** Tells whether the operator's allow-list lets a repository use a target. */
export function allowChecker(
  { dev, network }: ToolConfig,
  repo: RepoName,
): (buildkite: BuildkiteConfig, target: unknown) => Promise<Answer> {
  return async (buildkite, target) => {
    const { org, pipeline } = parseTarget(target) ?? { org: '', pipeline: '' };
    const names = accountNames({ dev, plcUrl: network.plcUrl });
    try {
      const allow = { rules: rulesOf(buildkite), names };
      await checkAllowed(allow, repo, { org, pipeline }, AbortSignal.timeout(namesMs));
      return { ok: true, detail: `${repo.did}/${repo.name} may use ${org}/${pipeline}` };
    } catch (error) {
      if (error instanceof ProviderError) return { ok: false, detail: error.message };
      throw error;
    } finally {
      await names.close();
    }
  };
}

/** Asks the CI whether a target is there, and whether the configured token may make builds. It makes none. */
export function targetChecker(buildkite: BuildkiteConfig, timeoutMs = 10_000): (target: unknown) => Promise<Answer> {
  const http = createHttp({ apiUrl: buildkite.apiUrl, token: buildkite.token, limiter: unlimited, timeoutMs });
  const signal = () => AbortSignal.timeout(timeoutMs);
  let token: ReturnType<typeof readToken> | undefined;

  return async (target) => {
    const { org, pipeline } = parseTarget(target) ?? { org: '', pipeline: '' };
    try {
      const lacking = lackingScopes(await (token ??= readToken(http, signal())));
      if (lacking.length > 0) {
        return { ok: false, detail: `the configured token lacks ${lacking.join(', ')}; give it these scopes` };
      }
      const answer = await http.call({
        method: 'GET',
        path: ['organizations', org, 'pipelines', pipeline, 'builds'],
        query: { per_page: '1', exclude_jobs: 'true', exclude_pipeline: 'true' },
        key: 'lint',
        priority: 'read',
        signal: signal(),
      });
      if (!isRefusal(answer)) {
        return { ok: true, detail: `the pipeline ${org}/${pipeline} is there, and the token may make builds` };
      }
      const detail =
        answer.status === 404
          ? `there is no Buildkite pipeline ${org}/${pipeline}, or the token has no access to it`
          : `Buildkite does not show the pipeline ${org}/${pipeline} (${answer.status}): ${answer.reason}`;
      return { ok: false, detail };
    } catch (error) {
      if (error instanceof ProviderError) return { ok: false, detail: error.message };
      throw error;
    }
  };
}

/** A look by hand costs no slot of the shared budget. */
const unlimited = { reserve: async () => new Date(0), block: async () => {} };
