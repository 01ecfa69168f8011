import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Actions } from './actions.ts';
import { addressOf } from './faults.ts';
import { buildFilter, exactly, flag, numberedPage } from './filters.ts';
import type { Query } from './filters.ts';
import { about, callerOf } from './gate.ts';
import type { NewBuild } from './life.ts';
import { restBuild } from './objects.ts';
import { invalid, Refusal } from './refusal.ts';
import type { Build, Pipeline, Token } from './types.ts';
import type { World } from './world.ts';

export interface PipelinePath {
  readonly org: string;
  readonly pipeline: string;
}
export interface BuildPath extends PipelinePath {
  readonly number: string;
}

/** Finds an organisation that the caller may see, or refuses as Buildkite does. */
export function organizationFor(world: World, request: FastifyRequest, slug: string): string {
  const { organizations } = callerOf(request);
  if ((organizations && !organizations.includes(slug)) || !world.organization(slug)) {
    throw new Refusal(404, 'No organization found');
  }
  return slug;
}

/** Finds a pipeline that the caller may see. */
export function pipelineFor(world: World, request: FastifyRequest, path: PipelinePath): Pipeline {
  organizationFor(world, request, path.org);
  const pipeline = world.pipeline(path.org, path.pipeline);
  if (!pipeline) throw new Refusal(404, 'No pipeline found');
  return pipeline;
}

/** Finds a build by its number and writes it into the truth log. */
export function buildFor(world: World, request: FastifyRequest, path: BuildPath): Build {
  const pipeline = pipelineFor(world, request, path);
  const build = world.buildAt(pipeline.org, pipeline.slug, Number(path.number));
  if (!build) throw new Refusal(404, 'No build found');
  about(request, addressOf(build));
  return build;
}

/** Routes of builds: create, get, the three lists, cancel, rebuild, retry of failed jobs. */
export function buildRoutes(api: FastifyInstance, world: World, actions: Actions): void {
  const builds = '/organizations/:org/pipelines/:pipeline/builds';
  const read = { scope: 'read_builds' } as const;
  const write = { scope: 'write_builds' } as const;
  const full = { jobs: true, pipeline: true };

  api.post<{ Params: PipelinePath }>(builds, { config: { route: 'create', ...write } }, async (request, reply) => {
    const pipeline = pipelineFor(world, request, request.params);
    const build = actions.create(pipeline, parseCreate(request.body, pipeline, callerOf(request)));
    about(request, addressOf(build));
    return reply.code(201).send(restBuild(world, build, full));
  });

  api.get<{ Params: BuildPath; Querystring: Query }>(
    `${builds}/:number`,
    { config: { route: 'get', ...read } },
    async (request) => restBuild(world, buildFor(world, request, request.params), partsOf(request.query, true)),
  );

  const list = (request: FastifyRequest<{ Querystring: Query }>, within: (build: Build) => boolean) => {
    const fits = buildFilter(request.query);
    const { organizations } = callerOf(request);
    // Newest first, and only what the index knows by now.
    const found = world
      .among(exactly(request.query))
      .filter((build) => build.indexed && within(build) && (organizations?.includes(build.org) ?? true) && fits(build));
    const page = numberedPage(found.toReversed(), request.query, `${world.base}${request.raw.url}`);
    return { link: page.link, body: page.items.map((build) => restBuild(world, build, partsOf(request.query, false))) };
  };

  api.get<{ Querystring: Query }>('/builds', { config: { route: 'list', ...read } }, async (request, reply) => {
    const { link, body } = list(request, () => true);
    return reply.headers(link ? { Link: link } : {}).send(body);
  });
  api.get<{ Params: { org: string }; Querystring: Query }>(
    '/organizations/:org/builds',
    { config: { route: 'list', ...read } },
    async (request, reply) => {
      const org = organizationFor(world, request, request.params.org);
      const { link, body } = list(request, (build) => build.org === org);
      return reply.headers(link ? { Link: link } : {}).send(body);
    },
  );
  api.get<{ Params: PipelinePath; Querystring: Query }>(
    builds,
    { config: { route: 'list', ...read } },
    async (request, reply) => {
      const { org, slug } = pipelineFor(world, request, request.params);
      const { link, body } = list(request, (build) => build.org === org && build.pipeline === slug);
      return reply.headers(link ? { Link: link } : {}).send(body);
    },
  );

  api.put<{ Params: BuildPath }>(
    `${builds}/:number/cancel`,
    { config: { route: 'cancel', ...write } },
    async (request) => {
      const build = buildFor(world, request, request.params);
      actions.cancel(build);
      return restBuild(world, build, full);
    },
  );

  api.put<{ Params: BuildPath }>(
    `${builds}/:number/rebuild`,
    { config: { route: 'rebuild', ...write } },
    async (request) => {
      const old = buildFor(world, request, request.params);
      const build = actions.rebuild(old, 'api', callerOf(request).user);
      about(request, addressOf(build));
      return restBuild(world, build, full);
    },
  );

  api.put<{ Params: BuildPath }>(
    `${builds}/:number/retry_failed_jobs`,
    { config: { route: 'retry_failed_jobs', ...write } },
    async (request, reply) => {
      const build = buildFor(world, request, request.params);
      const states = text(fieldsOf(request.body)['states'])?.split(',') ?? ['failed', 'timed_out'];
      const count = actions.retryFailed(build, states, callerOf(request).user);
      return reply.code(202).send({ ...restBuild(world, build, full), retried_jobs_count: count });
    },
  );
}

const partsOf = (query: Query, counts: boolean) => ({
  jobs: !flag(query, 'exclude_jobs'),
  pipeline: !flag(query, 'exclude_pipeline'),
  retried: flag(query, 'include_retried_jobs'),
  counts,
});

/** The fields of a JSON body; nothing else is a body. */
export function fieldsOf(body: unknown): Record<string, unknown> {
  return typeof body === 'object' && body !== null && !Array.isArray(body) ? { ...body } : {};
}

const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);

function strings(value: unknown): Record<string, string> {
  return Object.fromEntries(Object.entries(fieldsOf(value)).map(([key, item]) => [key, String(item)]));
}

/** Reads a CreateBuild body. `commit` and `branch` are required; `pull_request_id` is an integer. */
function parseCreate(body: unknown, pipeline: Pipeline, caller: Token): NewBuild {
  const given = fieldsOf(body);
  const commit = text(given['commit']);
  const branch = text(given['branch']);
  const pull = given['pull_request_id'];
  const errors = [
    ...(commit === undefined ? [{ field: 'commit', code: 'missing_field' }] : []),
    ...(branch === undefined ? [{ field: 'branch', code: 'missing_field' }] : []),
    ...(pull !== undefined && pull !== null && !Number.isInteger(pull)
      ? [{ field: 'pull_request_id', code: 'invalid' }]
      : []),
    ...Object.keys(strings(given['meta_data']))
      .filter((key) => key.startsWith('buildkite:'))
      .map(() => ({ field: 'meta_data', code: 'reserved_key' })),
  ];
  if (commit === undefined || branch === undefined || errors.length > 0) throw invalid(errors);
  if (pipeline.branchesDisabled && given['ignore_pipeline_branch_filters'] !== true) {
    throw new Refusal(422, 'Branches have been disabled for this pipeline');
  }
  const author = strings(given['author']);
  return {
    commit,
    branch,
    message: text(given['message']) ?? null,
    env: strings(given['env']),
    metaData: strings(given['meta_data']),
    author: author['name'] === undefined ? null : { name: author['name'], email: author['email'] ?? '' },
    pullRequest:
      typeof pull === 'number'
        ? {
            id: String(pull),
            base: text(given['pull_request_base_branch']) ?? null,
            repository: text(given['pull_request_repository']) ?? null,
            labels: Array.isArray(given['pull_request_labels']) ? given['pull_request_labels'].map(String) : [],
          }
        : null,
    source: 'api',
    creator: caller.user,
  };
}
