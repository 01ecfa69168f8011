import { isUtf8 } from 'node:buffer';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Actions } from './actions.ts';
import { addressOf } from './faults.ts';
import { cursorPage, listOf, one } from './filters.ts';
import type { Query } from './filters.ts';
import { about, callerOf } from './gate.ts';
import { logOf } from './log.ts';
import { buildUrl, jobObject, restTime } from './objects.ts';
import { Refusal } from './refusal.ts';
import { buildFor, organizationFor } from './routes-builds.ts';
import type { BuildPath } from './routes-builds.ts';
import type { Build, Job } from './types.ts';
import type { World } from './world.ts';

interface JobPath {
  readonly org: string;
  readonly job: string;
  readonly pipeline?: string;
  readonly number?: string;
}

/** Routes of jobs, each in its build-scoped and its organisation-scoped form. */
export function jobRoutes(api: FastifyInstance, world: World, actions: Actions): void {
  const read = { scope: 'read_builds' } as const;
  const write = { scope: 'write_builds' } as const;
  const ofBuild = '/organizations/:org/pipelines/:pipeline/builds/:number/jobs';

  api.get<{ Params: BuildPath; Querystring: Query }>(
    ofBuild,
    { config: { route: 'jobs', ...read } },
    async (request) => {
      const build = buildFor(world, request, request.params);
      const states = listOf(request.query, 'state');
      const all = one(request.query, 'include_retried_jobs') !== 'false';
      const jobs = build.jobs.filter(
        (job) => (all || job.retriedInJobId === null) && (states.length === 0 || states.includes(job.state)),
      );
      const page = cursorPage(jobs, request.query, `${world.base}${request.raw.url}`);
      return { ...page, items: page.items.map((job) => jobObject(world, build, job, restTime)) };
    },
  );

  const jobFor = (request: FastifyRequest<{ Params: JobPath }>): { build: Build; job: Job } => {
    const { org, pipeline, number, job: id } = request.params;
    const scope = pipeline !== undefined && number !== undefined ? { org, pipeline, number } : undefined;
    const build = scope && buildFor(world, request, scope);
    organizationFor(world, request, org);
    const found = world.findJob(id);
    if (!found || found.build.org !== org || (build && found.build !== build)) throw new Refusal(404, 'No job found');
    about(request, addressOf(found.build));
    return found;
  };

  for (const jobs of [ofBuild, '/organizations/:org/jobs']) {
    api.get<{ Params: JobPath }>(`${jobs}/:job`, { config: { route: 'job', ...read } }, async (request) => {
      const { build, job } = jobFor(request);
      return jobObject(world, build, job, restTime);
    });
    api.put<{ Params: JobPath }>(`${jobs}/:job/retry`, { config: { route: 'retry', ...write } }, async (request) => {
      const { build, job } = jobFor(request);
      return jobObject(world, build, actions.retry(build, job, callerOf(request).user), restTime);
    });
    api.put<{ Params: JobPath }>(
      `${jobs}/:job/unblock`,
      { config: { route: 'unblock', ...write } },
      async (request) => {
        const { build, job } = jobFor(request);
        actions.unblock(build, job, callerOf(request).user);
        return jobObject(world, build, job, restTime);
      },
    );

    for (const ending of ['/log', '/log.txt', '/log.html']) {
      api.route<{ Params: JobPath }>({
        method: ['GET', 'HEAD'],
        url: `${jobs}/:job${ending}`,
        config: { route: 'log', scope: 'read_build_logs' },
        handler: async (request, reply) => {
          const { build, job } = jobFor(request);
          const log = world.log(build, job);
          return sendLog(request, reply, log, ending, `${buildUrl(world, build)}/jobs/${job.id}/log`);
        },
      });
    }
    api.delete<{ Params: JobPath }>(
      `${jobs}/:job/log`,
      { config: { route: 'log', scope: 'write_build_logs' } },
      async (request, reply) => {
        logOf(jobFor(request).job).replace('');
        return reply.code(204).send();
      },
    );
  }
}

function sendLog(request: FastifyRequest, reply: FastifyReply, log: Buffer, ending: string, url: string): unknown {
  // HEAD tells the raw size whatever form was asked for.
  if (request.method === 'HEAD') {
    return reply
      .headers({ 'Accept-Ranges': 'bytes', 'Content-Length': String(log.length), 'Content-Type': 'text/plain' })
      .send();
  }
  const { accept = '', range } = request.headers;
  const plain = ending === '/log.txt' || (ending === '/log' && accept.includes('text/plain'));
  if (ending === '/log.html') return reply.type('text/html').send(`<pre>${escapeHtml(log.toString())}</pre>`);
  if (!plain) return { url, content: log.toString(), size: log.length, header_times: [] };
  void reply.type('text/plain').header('Accept-Ranges', 'bytes');
  // Text is mended where it is not UTF-8, but never in a range.
  if (range === undefined) return reply.send(isUtf8(log) ? log : Buffer.from(log.toString()));
  const count = Number(/^bytes=-(\d+)$/.exec(range)?.[1] ?? 0);
  if (count === 0) throw new Refusal(400, 'Only a single suffix range (bytes=-N) is supported');
  if (log.length === 0) {
    void reply.header('Content-Range', 'bytes */0');
    throw new Refusal(416, 'Range not satisfiable');
  }
  const from = Math.max(0, log.length - count);
  return reply
    .code(206)
    .header('Content-Range', `bytes ${from}-${log.length - 1}/${log.length}`)
    .send(log.subarray(from));
}

/** Makes text safe inside HTML. */
export const escapeHtml = (value: string): string =>
  value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
