import { randomUUID } from 'node:crypto';
import { ApplicationFailure, cancellationSignal } from '@temporalio/activity';
import type { Logger } from 'pino';
import { runKey } from '../pipeline/ids.ts';
import { isEnd } from '../pipeline/status.ts';
import { ProviderError } from '../providers/errors.ts';
import type { Built, BuildSpec, Provider } from '../providers/provider.ts';
import * as store from '../store/builds.ts';
import type { Sql } from '../store/db.ts';
import { lostJob } from '../store/restore.ts';
import type { Activities, AttemptInput, Created } from '../workflows/contract.ts';
import { recoverJob } from './recover.ts';

export interface BuildDeps {
  sql: Sql;
  providers: Record<string, Provider>;
  log: Logger;
}

type Loaded = NonNullable<Awaited<ReturnType<typeof store.loadAttempt>>>;
/** A POST for which a row was written. */
type OpenPost = { id: bigint; nonce: string; postedAt: Date; spec: BuildSpec };
type BuildActivities = Pick<Activities, 'create' | 'search' | 'stop' | 'adopt' | 'read'>;

/** Everything that touches builds at a CI. Each may run any number of times, and two at once. */
export function buildActivities({ sql, providers, log }: BuildDeps): BuildActivities {
  const providerOf = (name: string): Provider => {
    const provider = Object.hasOwn(providers, name) ? providers[name] : undefined;
    if (provider) return provider;
    throw new ProviderError(
      'TargetMissing',
      `This spindle has no access to the CI "${name}". Configure it, restart the worker, then retry.`,
    );
  };

  const load = async (key: AttemptInput, command?: string): Promise<Loaded> => {
    const found = await store.loadAttempt(sql, key, command);
    if (found) return found;
    throw ApplicationFailure.nonRetryable(
      `There is no attempt ${key.attempt} of ${key.job} in the database.`,
      'Internal',
    );
  };

  /** The build that is bound already, as the CI shows it now; the row alone would do, but a repeat should bring news. */
  const boundBuild = ({ attempt, posts }: Loaded): Built | undefined => {
    const ref = posts.find((post) => post.ref?.id === attempt.build)?.ref;
    return ref ? { ref, seen: { build: ref.id, status: 'pending', at: 0 } } : undefined;
  };

  /** What was found may have told its news to somebody who lost it. */
  const asItStands = async ({ attempt }: Loaded, bound: Built): Promise<Built> => {
    const [now] = await providerOf(attempt.spec.provider).read([bound.ref], cancellationSignal());
    return now ?? bound;
  };

  /** Cancels a build of ours that has no place. */
  const cancelExtra = async (provider: Provider, key: AttemptInput, built: Built): Promise<void> => {
    if (!isEnd(built.seen.status)) {
      log.warn({ pipeline: key.pipeline, job: key.job, build: built.ref.id }, 'cancelling an extra build');
      await provider.cancel(built.ref, cancellationSignal());
    }
    await store.extraCancelled(sql, provider.name, built.ref.id);
  };

  /**
   * Searches the CI for what the POSTs without an answer made: the oldest is bound, the others are cancelled.
   * Returns the build of the attempt, if there is one now.
   */
  const reconcile = async (key: AttemptInput, loaded: Loaded): Promise<Built | undefined> => {
    const { attempt, posts } = loaded;
    const provider = providerOf(attempt.spec.provider);
    const unanswered = posts.filter(({ outcome }) => outcome === 'unknown');
    const told = unanswered.length === 0 ? [] : await store.toldBuilds(sql, key, provider.name);
    const found = await provider.find(
      { runKey: runKey(key.pipeline, key.job, key.attempt), spec: attempt.spec, posts, told },
      cancellationSignal(),
    );
    let ours: Built | undefined;
    for (const built of found) {
      const row = posts.find((post) => post.ref?.id === built.ref.id) ?? unanswered.shift();
      const mine = row ? await store.bindBuild(sql, key, row.id, built.ref) : attempt.build === built.ref.id;
      if (mine) ours = built;
      else await cancelExtra(provider, key, built);
    }
    return ours ?? boundBuild(loaded);
  };

  /** One POST, for which there is a row. Undefined when its build came too late to be the attempt's. */
  const post = async (key: AttemptInput, row: OpenPost): Promise<Built | undefined> => {
    let built: Built;
    try {
      const request = { ...row, runKey: runKey(key.pipeline, key.job, key.attempt) };
      built = await providerOf(row.spec.provider).create(request, cancellationSignal());
    } catch (error) {
      if (error instanceof ProviderError && !error.ambiguous) await store.refusePost(sql, row.id);
      throw error;
    }
    if (await store.bindBuild(sql, key, row.id, built.ref)) return built;
    await cancelExtra(providerOf(row.spec.provider), key, built);
    return undefined;
  };

  const postAgain = async (key: AttemptInput, { attempt }: Loaded): Promise<Built | undefined> => {
    const nonce = randomUUID();
    const { spec, posts } = attempt;
    const row = await store.openPost(sql, key, { provider: providerOf(spec.provider).name, nonce, posts });
    if (row) return post(key, { ...row, nonce, spec });
    throw ApplicationFailure.create({
      message: 'Another process is creating this build.',
      type: 'Transient',
      nextRetryDelay: 500,
    });
  };

  /** Takes in what the CI has of the job, in case rows were lost. */
  const lookFirst = async ({ pipeline, job }: AttemptInput): Promise<void> =>
    recoverJob({ sql, providers, log }, pipeline, await lostJob(sql, pipeline, job));

  const made = (built: Built | undefined, doubt: boolean): Created =>
    built ? { kind: 'bound', seen: built.seen, doubt } : { kind: 'stopped', doubt: true };

  /** Creates with a history: what is bound already, what was lost, what was stopped. */
  const createAgain = async (key: AttemptInput, found: Loaded, looks: number[]): Promise<Created> => {
    if (found.attempt.unsure) await lookFirst(key);
    const loaded = found.attempt.unsure ? await load(key) : found;
    const { attempt, posts } = loaded;
    const lost = posts.filter(({ outcome }) => outcome === 'unknown');
    const doubt = attempt.restored || lost.length > 0 || posts.some(({ extra }) => extra);

    const bound = boundBuild(loaded);
    if (bound) return made(found.attempt.unsure ? await asItStands(loaded, bound) : bound, doubt);
    const last = lost.at(-1);
    if (last && !providerOf(attempt.spec.provider).capabilities.idempotentCreate) {
      const found = await reconcile(key, loaded);
      if (found) return made(found, true);
      if (attempt.stopped) return { kind: 'stopped', doubt: true };
      await waitForIndex(sql, last, looks);
    }
    if (attempt.stopped) return { kind: 'stopped', doubt };
    return made(await postAgain(key, loaded), doubt);
  };

  return {
    async create({ looks, command, ...key }) {
      try {
        const nonce = randomUUID();
        const row = key.attempt === 1 ? await store.openFirstPost(sql, key, nonce) : undefined;
        if (!row) return await createAgain(key, await load(key, command), looks);
        return made(await post(key, { ...row, nonce }), false);
      } catch (error) {
        throw error instanceof ProviderError && error.ambiguous ? lostAnswer(error, looks) : error;
      }
    },

    async search(key) {
      const loaded = await load(key);
      if (loaded.attempt.restored) await lookFirst(key);
      const found = await reconcile(key, loaded.attempt.restored ? await load(key) : loaded);
      return found ? { seen: found.seen } : {};
    },

    async stop(key) {
      const build = await store.forbidPosts(sql, key);
      const { attempt, posts } = await load(key);
      const doubt = posts.some(({ outcome, extra }) => outcome === 'unknown' || extra);
      const ref = posts.find((post) => post.ref?.id === build)?.ref;
      if (build === null || !ref) return { doubt };
      const provider = providerOf(attempt.spec.provider);
      await store.saveRef(sql, provider.name, await provider.cancel(ref, cancellationSignal()));
      return { build, doubt };
    },

    async adopt({ ref, rebuiltFrom, ...key }) {
      const [origin] = await store.knownBuilds(sql, key.pipeline, [rebuiltFrom]);
      if (!origin || origin.job !== key.job)
        throw ApplicationFailure.nonRetryable(`Build ${rebuiltFrom} is not one of ${key.job}.`, 'InvalidDefinition');
      const provider = providerOf(origin.provider);
      const [rebuilt] = await provider.read([ref], cancellationSignal());
      if (!rebuilt) throw new ProviderError('Transient', `The CI does not show build ${ref.id} yet.`);
      const attempt = await store.adoptBuild(sql, key, provider.name, rebuilt.ref, rebuiltFrom);
      return { attempt, seen: rebuilt.seen };
    },

    async read({ pipeline, builds }) {
      const known = await store.knownBuilds(sql, pipeline, builds);
      const names = [...new Set(known.map(({ provider }) => provider))];
      const answers = await Promise.all(
        names.map((name) =>
          providerOf(name).read(
            known.filter(({ provider }) => provider === name).map(({ ref }) => ref),
            cancellationSignal(),
          ),
        ),
      );
      return answers.flat().map(({ seen }) => seen);
    },
  };
}

/**
 * Nothing was found for a POST without an answer. Its build may still surface, since a CI's index lags: only after all
 * looks, and after the time that they take, may there be another POST.
 */
async function waitForIndex(sql: Sql, post: store.Post, looks: number[]): Promise<void> {
  await store.lookedInVain(sql, post.id);
  const made = post.looks + 1;
  const next = looks[made];
  const due = looks.reduce((sum, wait) => sum + wait, 0) - post.ageMs;
  if (made >= looks.length && due <= 0) return;
  throw ApplicationFailure.create({
    message: `The CI did not answer whether it made the build. Search ${made} of ${looks.length} found nothing; looking again.`,
    type: 'Transient',
    nextRetryDelay: Math.max(1, made < looks.length ? (next ?? 0) : due),
  });
}

function lostAnswer(error: ProviderError, looks: number[]): ApplicationFailure {
  return ApplicationFailure.create({
    message: `${error.message} The build may exist all the same: searching for it before another is made.`,
    type: 'Transient',
    cause: error,
    nextRetryDelay: Math.max(1, looks[0] ?? 1000),
  });
}
