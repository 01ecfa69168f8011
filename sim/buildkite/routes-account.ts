import type { FastifyInstance } from 'fastify';
import { callerOf } from './gate.ts';
import type { Limiter } from './limits.ts';
import { organizationObject, pipelineObject, restTime } from './objects.ts';
import { organizationFor, pipelineFor } from './routes-builds.ts';
import type { PipelinePath } from './routes-builds.ts';
import type { World } from './world.ts';

/** Routes about the token, the organisation and its pipelines. */
export function accountRoutes(api: FastifyInstance, world: World, limiter: Limiter): void {
  api.get('/access-token', { config: { route: 'access_token' } }, async (request) => {
    const token = callerOf(request);
    return {
      uuid: token.id,
      scopes: token.scopes,
      description: token.description,
      created_at: restTime(token.createdAt),
      expires_at: restTime(token.expiresAt),
      user: { name: token.user.name, email: token.user.email },
    };
  });
  api.delete('/access-token', { config: { route: 'access_token' } }, async (request, reply) => {
    world.tokens.delete(callerOf(request).token);
    return reply.code(204).send();
  });

  api.get('/user', { config: { route: 'access_token', scope: 'read_user' } }, async (request) => {
    const { id, name, email } = callerOf(request).user;
    return { id, name, email };
  });

  api.get<{ Params: { org: string } }>(
    '/organizations/:org',
    { config: { route: 'organization', scope: 'read_organizations' } },
    async (request) => organizationObject(world, organizationFor(world, request, request.params.org)),
  );

  api.get<{ Params: { org: string } }>(
    '/organizations/:org/rate_limit',
    { config: { route: 'rate_limit', scope: 'read_organizations' } },
    async (request) => {
      const { limit, current, reset } = limiter.look(organizationFor(world, request, request.params.org));
      const scope = (most: number, used: number, seconds: number) => ({
        limit: most,
        current: used,
        reset: seconds,
        reset_at: restTime(world.now() + seconds * 1000),
        enforced: true,
      });
      return { scopes: { rest: scope(limit, current, reset), graphql: scope(20_000, 0, 300) } };
    },
  );

  api.get<{ Params: { org: string } }>(
    '/organizations/:org/pipelines',
    { config: { route: 'pipeline', scope: 'read_pipelines' } },
    async (request) => {
      const org = organizationFor(world, request, request.params.org);
      const own = [...world.pipelines.values()].filter((pipeline) => pipeline.org === org);
      return own.map((pipeline) => pipelineObject(world, pipeline, restTime));
    },
  );
  api.get<{ Params: PipelinePath }>(
    '/organizations/:org/pipelines/:pipeline',
    { config: { route: 'pipeline', scope: 'read_pipelines' } },
    async (request) => pipelineObject(world, pipelineFor(world, request, request.params), restTime),
  );

  api.get('/meta', { config: { route: 'meta', open: true } }, async () => ({ webhook_ips: ['127.0.0.1/32'] }));
}
