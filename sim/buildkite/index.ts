import Fastify from 'fastify';
import { createActions } from './actions.ts';
import { createAgent, silentAgent } from './agent.ts';
import { createClock } from './clock.ts';
import { afterWebhooks, createFaults } from './faults.ts';
import type { HookMatch, RequestAction, RequestMatch } from './faults.ts';
import { guard } from './gate.ts';
import { createLife, isOver } from './life.ts';
import { createLimiter } from './limits.ts';
import { logOf } from './log.ts';
import { jobNamed, openJobs } from './jobs.ts';
import { pages } from './page.ts';
import { Refusal } from './refusal.ts';
import { accountRoutes } from './routes-account.ts';
import { buildRoutes } from './routes-builds.ts';
import { jobRoutes } from './routes-jobs.ts';
import type { BuildkiteOptions, BuildkiteSim, Hold } from './sim.ts';
import { createSignal } from './signal.ts';
import type { Build, BuildRef, Delivery, Job, RequestRecord } from './types.ts';
import { createWebhooks } from './webhooks.ts';
import { addPipeline, addToken, createWorld } from './world.ts';

export {
  answer,
  after,
  cut,
  double,
  hang,
  late,
  lose,
  loseAnswer,
  rateLimited,
  refuse,
  reverse,
  slow,
} from './faults.ts';
export type { HookAction, HookMatch, RequestAction, RequestMatch, Rule } from './faults.ts';
export { REAL_LIMITS } from './limits.ts';
export type { Limits } from './limits.ts';
export type { BuildkiteOptions, BuildkiteSim, Hold } from './sim.ts';
export type * from './types.ts';
export { signature } from './webhooks.ts';
export type { Webhook, WebhookSettings } from './webhooks.ts';
export type { PipelineSettings, TokenSettings } from './world.ts';

/** What is kept of a request's body when bodies are not. */
function essence({ route, body }: RequestRecord): unknown {
  if (route !== 'create' || typeof body !== 'object' || body === null || !('meta_data' in body)) return null;
  return { meta_data: body.meta_data };
}

/** Starts a Buildkite on a port of 127.0.0.1 (0: any free one). It holds everything in memory. */
export async function startBuildkite(options: BuildkiteOptions = {}): Promise<BuildkiteSim> {
  const now = options.now ?? Date.now;
  const signal = createSignal();
  const world = createWorld(signal, now);
  world.autoPipelines = options.autoPipelines ?? false;
  for (const pipeline of options.pipelines ?? ['acme/app']) addPipeline(world, pipeline);
  const token = addToken(world, options.token);
  const person = { id: 'b4a2f0de-0000-4000-8000-000000000001', name: 'A Person', email: 'person@users.example' };

  const faults = createFaults();
  const keepBodies = options.keepBodies ?? true;
  const onDelivery = (delivery: Delivery): void => options.onDelivery?.(delivery);
  const webhooks = createWebhooks(world, faults, person, onDelivery, keepBodies);
  const { log } = options;
  if (log) world.log = (build, job) => log(build, job, now());
  const agent = log ? silentAgent : createAgent(world, () => (clock.mode === 'auto' ? clock.pace : null));
  const life = createLife(world, (event, build, job) => webhooks.emit(event, build, job), agent);
  const clock = createClock(life, options.clock ?? 'manual', options.pace ?? 300);
  const actions = createActions(world, life, clock, options.indexLag ?? 0);
  const limiter = createLimiter(now, options.limits ?? 'off');
  const requests: RequestRecord[] = [];

  const app = Fastify({
    forceCloseConnections: true,
    bodyLimit: 16 * 1024 * 1024,
    routerOptions: { maxParamLength: 500 },
  });
  // An empty body is fine whatever its type says: Buildkite's own clients send PUT so.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'string' }, (request, body, done) => {
    if (body === '' || !request.headers['content-type']?.includes('json')) return done(null, null);
    try {
      done(null, JSON.parse(String(body)));
    } catch {
      done(new Refusal(400, 'Problems parsing JSON'));
    }
  });
  app.setErrorHandler((error, _request, reply) => {
    if (error instanceof Refusal) return reply.code(error.status).send(error.body);
    const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500;
    return reply.code(status).send({ message: error instanceof Error ? error.message : String(error) });
  });
  await app.register(
    async (api) => {
      guard(api, world, faults, limiter, requests, (record) => {
        options.onRequest?.(record);
        if (!keepBodies) Object.assign(record, { body: essence(record) });
      });
      buildRoutes(api, world, actions);
      jobRoutes(api, world, actions);
      accountRoutes(api, world, limiter);
      api.setNotFoundHandler((_request, reply) => reply.code(404).send({ message: 'Not Found' }));
    },
    { prefix: '/v2' },
  );
  pages(app, world, life, actions, clock, person);
  const listened = await app.listen({ host: options.host ?? '127.0.0.1', port: options.port ?? 0 });
  world.base = options.publicUrl ?? listened;

  const snapshot = (build: Build): Build => structuredClone(build);
  const holdUntil = <T>(arm: (arrived: (value: T) => void, open: Promise<void>) => void): Hold<T> => {
    const gate = faults.gate();
    const { promise, resolve } = Promise.withResolvers<T>();
    arm(resolve, gate.opened);
    return { arrived: promise, release: () => gate.open() };
  };
  const jobOf = (build: Build, name: string | undefined): Job => {
    const job =
      name === undefined
        ? build.jobs.findLast((one) => one.state === 'failed' || one.state === 'timed_out' || one.state === 'canceled')
        : jobNamed(build.jobs, name);
    if (!job) throw new Error(`build ${build.number} of ${build.org}/${build.pipeline} has no job that can be retried`);
    return job;
  };

  const sim: BuildkiteSim = {
    url: world.base,
    apiUrl: `${world.base}/v2`,
    port: Number(new URL(listened).port),
    token: token.token,
    user: token.user,
    person,
    requests,
    deliveries: webhooks.deliveries,
    builds: () => world.builds.map(snapshot),
    build: (ref) => snapshot(world.find(ref)),
    pipeline: (settings) => addPipeline(world, settings),
    removePipeline: (org, slug) => void world.pipelines.delete(`${org}/${slug}`),
    addToken: (settings) => addToken(world, settings),
    revokeToken: (value) => void world.tokens.delete(value),
    webhook: (settings) => webhooks.add(settings),
    script: (rule, causes) => clock.addRule(rule, causes),
    create: (org, slug, given) => {
      const pipeline = world.pipeline(org, slug);
      if (!pipeline) throw new Error(`no pipeline ${org}/${slug} in the Buildkite simulator`);
      return snapshot(actions.create(pipeline, { source: 'ui', creator: person, ...given }));
    },
    advance: (ref, state) => {
      const build = world.find(ref);
      if (state === undefined) {
        if (!clock.next(build)) throw new Error(`the script of build ${build.number} is over: say which state is next`);
      } else {
        life.move(build, state);
        clock.forget(build, isOver(build.state) && !build.blocked ? undefined : state);
      }
      return snapshot(build);
    },
    finish: (ref, result, end = {}) => {
      const build = world.find(ref);
      clock.forget(build);
      if (end.cancelReason !== undefined) build.cancelReason = end.cancelReason;
      if (result === 'canceled' && build.state !== 'canceling') life.move(build, 'canceling');
      life.move(build, result, end.jobs);
      return snapshot(build);
    },
    moveJob: (ref, job, to) => life.moveJob(world.find(ref), job, to),
    appendLog: (ref, job, data) => logOf(jobNamed(world.find(ref).jobs, job)).append(data),
    replaceLog: (ref, job, data) => logOf(jobNamed(world.find(ref).jobs, job)).replace(data),
    log: (ref, name) => {
      const build = world.find(ref);
      return world.log(build, jobNamed(build.jobs, name));
    },
    cancel: (ref, reason) => actions.cancel(world.find(ref), reason),
    rebuild: (ref, source = 'ui') => snapshot(actions.rebuild(world.find(ref), source, person)),
    retryJob: (ref, job) => {
      const build = world.find(ref);
      return structuredClone(actions.retry(build, jobOf(build, job), person));
    },
    unblock: (ref) => actions.unblock(world.find(ref), undefined, person),
    setMetaData: (ref, key, value) => world.setMetaData(world.find(ref), key, value),
    openJobs: (ref: BuildRef) => openJobs(world.find(ref).jobs).map((job) => structuredClone(job)),
    pending: () => ({ builds: clock.wound, webhooks: webhooks.pending }),
    onRequest: (match, action, times) => faults.onRequest(match, action, times),
    onWebhook: (match, action, times) => faults.onWebhook(match, action, times),
    afterWebhooks: (...events) => afterWebhooks(signal, webhooks.wasDone, events),
    hold: (match: RequestMatch, at = 'answer') =>
      holdUntil<RequestRecord>((arrived, opened) => {
        const pause = async (request: RequestRecord): Promise<void> => {
          arrived(request);
          await opened;
        };
        const action: RequestAction =
          at === 'answer' ? { name: 'answer held', after: pause } : { name: 'held', before: pause };
        faults.onRequest(match, action);
      }),
    holdWebhook: (match: HookMatch) => {
      const gate = faults.gate();
      const { promise, resolve } = Promise.withResolvers<Delivery>();
      faults.onWebhook(match, { name: 'held', kind: 'gate', arrived: resolve, gate });
      return { arrived: promise, release: () => gate.open() };
    },
    clearFaults: () => faults.clear(),
    setLimits: (limits) => limiter.set(limits),
    setIndexLag: (lag) => {
      actions.indexLag = lag;
    },
    reindex: () => actions.reindex(),
    setPace: (ms) => {
      clock.pace = ms;
    },
    until: (check, what, timeout) => signal.until(check, what, timeout),
    async close() {
      clock.stop();
      actions.stop();
      faults.clear();
      webhooks.close();
      signal.close();
      await app.close();
    },
  };
  return sim;
}
