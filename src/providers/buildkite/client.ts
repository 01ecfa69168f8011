import type { Failure } from '../../pipeline/failures.ts';
import { ProviderError } from '../errors.ts';
import type { BuildRef, Limiter, Provider } from '../provider.ts';
import { readHealth, readIdentity } from './account.ts';
import { type Allow, checkAllowed } from './allow.ts';
import { addressOf, builtOf, createBody, goneOf, refOf } from './builds.ts';
import { parseJson } from './answers.ts';
import { createHttp, isRefusal, type Refusal } from './http.ts';
import { openLog, readLog } from './logs.ts';
import { type BuildkiteTarget, parseTarget } from './plan.ts';
import { buildPath, getBuild, hasEnded, isGone, readBuilds } from './read.ts';
import { findBuilds, type Identity, missing, unreadable } from './search.ts';
import { stepsOf } from './steps.ts';
import { traceBuilds } from './trace.ts';
import { type BuildkiteBuild, parseBuild } from './wire.ts';

/** The part of a logger that is used; pino has it. */
export interface Log {
  warn(fields: Record<string, unknown>, message: string): void;
}

export interface BuildkiteOptions {
  /** Base of the REST API: `https://api.buildkite.com/v2`. */
  apiUrl: string;
  /** Asked for each request, so that a replaced token counts at once. */
  token: () => string;
  limiter: Limiter;
  /** Unset: every repository may use every target that the token reaches. */
  allow?: Allow;
  log?: Log;
  /** For one request with its answer, and for each silence in a log; default 10 s. */
  timeoutMs?: number;
}

/** What cancelling a build says that needs none (Buildkite's own end-to-end tests know these). */
const alreadyOver = /already (finished|being cancell?ed|been cancell?ed)|no build found/i;

/** States whose jobs `retry` runs again. */
const retried = 'failed,canceled,expired,timed_out';

/** Buildkite, by its REST API. */
export function buildkite(options: BuildkiteOptions): Provider {
  const { token, limiter, allow = {}, log, timeoutMs = 10_000 } = options;
  const http = createHttp({ apiUrl: options.apiUrl.replace(/\/+$/, ''), token, limiter, timeoutMs });
  // Learnt from our own create answers, or asked for once; a new token may be another user's.
  let known: { token: string; identity: Identity } | undefined;
  const remember = (identity: Identity): Identity => {
    known = { token: token(), identity };
    return identity;
  };
  const identity = async (signal: AbortSignal): Promise<Identity> =>
    known?.token === token() ? known.identity : remember(await readIdentity(http, signal));

  const onUnknown = (build: BuildkiteBuild): void =>
    log?.warn(
      { build: build.id, state: build.state },
      'a Buildkite build is in a state that is not known here; it is left as it was',
    );

  return {
    name: 'buildkite',
    capabilities: { webhooks: true, idempotentCreate: false, retry: true, logs: true },
    limits: http.limits,
    health: (signal) => readHealth(http, signal),

    async create(request, signal) {
      const target = targetOf(request.spec.target);
      const where = `${target.org}/${target.pipeline}`;
      await checkAllowed(allow, request.spec.repo, target, signal);
      const answer = await http.call({
        method: 'POST',
        path: ['organizations', target.org, 'pipelines', target.pipeline, 'builds'],
        body: createBody(request, target),
        // Not the nonce: a POST that was put off must find the slot it was given.
        key: `create/${request.runKey}`,
        priority: 'create',
        signal,
      });
      if (isRefusal(answer)) {
        if (answer.status === 404) throw new ProviderError('TargetMissing', missing(where));
        const said = answer.reason || `status ${answer.status}`;
        throw new ProviderError('InvalidDefinition', `Buildkite refused the build for ${where}: ${said}`);
      }
      const build = parseBuild(parseJson(answer.bytes));
      if (!build || build.number === undefined) throw unreadable(`the new build of ${where}`, true);
      const { id, email } = build.creator ?? {};
      if (id) remember({ id, ...(email ? { email } : {}) });
      const ref = refOf(build, target);
      return builtOf(build, ref) ?? { ref, seen: { build: build.id, status: 'pending', at: 0 } };
    },

    async find(request, signal) {
      const target = targetOf(request.spec.target);
      const told: BuildkiteBuild[] = [];
      for (const ref of request.told ?? []) {
        const build = isAt(ref, target) ? await getBuild(http, ref, 'create', signal) : undefined;
        if (build) told.push(build);
      }
      const found = await findBuilds(http, { ...request, told }, target, () => identity(signal), signal);
      return found.map((build) => {
        const ref = refOf(build, target);
        return builtOf(build, ref) ?? { ref, seen: { build: build.id, status: 'pending', at: 0 } };
      });
    },

    trace: (request, signal) =>
      traceBuilds(http, request, targetOf(request.spec.target), () => identity(signal), signal),

    read: (refs, signal) => readBuilds(http, refs, onUnknown, signal),

    async cancel(ref, signal) {
      const answer = await http.call({
        method: 'PUT',
        path: buildPath(ref, 'cancel'),
        key: `cancel/${ref.id}`,
        priority: 'cancel',
        signal,
      });
      if (!isRefusal(answer) || isGone(answer, ref) || alreadyOver.test(answer.reason)) return ref;
      if (await hasEnded(http, ref, signal)) return ref;
      throw refused('Internal', 'cancel', ref, answer);
    },

    async retry(ref, signal) {
      const answer = await http.call({
        method: 'PUT',
        path: buildPath(ref, 'retry_failed_jobs'),
        body: { states: retried },
        key: `retry/${ref.id}`,
        priority: 'create',
        signal,
      });
      if (isRefusal(answer)) {
        if (isGone(answer, ref)) throw new ProviderError('InvalidDefinition', goneOf(ref).seen.error ?? '');
        throw refused('InvalidDefinition', 'retry', ref, answer);
      }
      const body = parseJson(answer.bytes);
      const count =
        typeof body === 'object' && body !== null && 'retried_jobs_count' in body && body.retried_jobs_count;
      // Nothing to retry in a build that goes on: an earlier call of ours did it, and its answer was lost.
      if (count === 0 && (await hasEnded(http, ref, signal))) {
        throw new ProviderError(
          'InvalidDefinition',
          `no job of Buildkite build ${nameOf(ref)} can be retried; run it anew`,
        );
      }
      return ref;
    },

    async steps(ref, signal) {
      // Without them only the newest job of each step is shown, and the others would lose their logs.
      const build = await getBuild(http, ref, 'log', signal, { include_retried_jobs: 'true' });
      return build ? stepsOf(build) : [];
    },

    log: (ref, request, signal) => readLog((bytes) => openLog(http, ref, request.step.id, bytes, signal), request),
  };
}

function targetOf(value: unknown): BuildkiteTarget {
  const target = parseTarget(value);
  if (!target) throw new ProviderError('Internal', 'the stored target is not one of Buildkite; plan the trigger again');
  return target;
}

/** Whether a build is one of the pipeline that a job asks for. */
function isAt(ref: BuildRef, target: BuildkiteTarget): boolean {
  const { org, pipeline } = addressOf(ref);
  return org === target.org && pipeline === target.pipeline;
}

const nameOf = (ref: BuildRef): string => (ref.number === null ? ref.id : `#${ref.number}`);

const refused = (failure: Failure, what: string, ref: BuildRef, { status, reason }: Refusal): ProviderError =>
  new ProviderError(failure, `Buildkite did not ${what} build ${nameOf(ref)} (${status}): ${reason}`);
