import { stripVTControlCharacters } from 'node:util';
import type { FastifyInstance } from 'fastify';
import type { Actions } from './actions.ts';
import type { Clock } from './clock.ts';
import type { Life } from './life.ts';
import { buildPage, restTime } from './objects.ts';
import { Refusal } from './refusal.ts';
import { escapeHtml } from './routes-jobs.ts';
import type { Build, User } from './types.ts';
import type { World } from './world.ts';

const STYLE = `
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1d2430 }
  table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .3rem .8rem .3rem 0; vertical-align: top }
  tr { border-bottom: 1px solid #e3e7ee } pre { background: #10151f; color: #d6deeb; padding: 1rem; overflow: auto }
  form { display: inline } button { font: inherit; margin-right: .4rem } code { font-size: .9em }
  .passed { color: #14833b } .failed, .canceled { color: #b3261e } .running, .failing, .canceling { color: #8a5a00 }`;

const TICKS = { passed: '✓', failed: '✗', canceled: '✗', running: '●' } as const;
const isTicked = (state: string): state is keyof typeof TICKS => state in TICKS;

/** Pages for people: the list of builds at `/`, a build where its `web_url` points, and buttons on it. */
export function pages(
  app: FastifyInstance,
  world: World,
  life: Life,
  actions: Actions,
  clock: Clock,
  user: User,
): void {
  app.get('/', { logLevel: 'silent' }, async (request, reply) => {
    // The real API host answers so at its root; programs that probe it get the same here.
    if (!request.headers.accept?.includes('text/html')) {
      return { message: '🛠', timestamp: Math.floor(world.now() / 1000) };
    }
    const rows = world.builds.toReversed().map(
      (build) => `<tr><td>${stateOf(build)}</td><td><a href="${pathOf(build)}">${name(build)}</a></td>
        <td>${escapeHtml(build.message ?? '')}</td><td><code>${escapeHtml(build.commit.slice(0, 10))}</code></td>
        <td>${restTime(build.createdAt)}</td></tr>`,
    );
    return reply
      .type('text/html')
      .send(
        document(
          'Buildkite simulator',
          rows.length === 0
            ? `<p>No build yet. The API is at <code>${world.base}/v2</code>.</p>`
            : `<table><tr><th>State</th><th>Build</th><th>Message</th><th>Commit</th><th>Created</th></tr>${rows.join('')}</table>`,
        ),
      );
  });

  type Path = { org: string; pipeline: string; number: string };
  const find = ({ org, pipeline, number }: Path): Build => {
    const build = world.buildAt(org, pipeline, Number(number));
    if (!build) throw new Refusal(404, 'No build found');
    return build;
  };

  app.get<{ Params: Path }>('/:org/:pipeline/builds/:number', async (request, reply) => {
    const build = find(request.params);
    return reply.type('text/html').send(document(name(build), body(build)));
  });

  // What Buildkite's own page offers, and the two endings that an agent would bring.
  app.post<{ Params: Path & { action: string } }>('/:org/:pipeline/builds/:number/:action', async (request, reply) => {
    const build = find(request.params);
    const failed = build.jobs.findLast((job) => job.state === 'failed' && job.retriedInJobId === null);
    let shown = build;
    switch (request.params.action) {
      case 'cancel':
        actions.cancel(build, 'canceled on the page');
        break;
      case 'rebuild':
        shown = actions.rebuild(build, 'ui', user);
        break;
      case 'retry':
        if (failed) actions.retry(build, failed, user);
        break;
      case 'unblock':
        actions.unblock(build, undefined, user);
        break;
      case 'pass':
      case 'fail':
        clock.forget(build);
        life.move(build, request.params.action === 'pass' ? 'passed' : 'failed');
        break;
      default:
        throw new Refusal(404, 'No such action');
    }
    return reply.redirect(pathOf(shown), 303);
  });

  function body(build: Build): string {
    const over = build.finishedAt !== null && !build.blocked;
    const offered = [
      ...(over ? ['rebuild'] : ['pass', 'fail', 'cancel']),
      ...(build.state === 'failed' ? ['retry'] : []),
      ...(build.blocked ? ['unblock'] : []),
    ];
    const jobs = build.jobs.map(
      (job) => `<tr id="${job.id}"><td>${escapeHtml(job.state)}</td><td>${escapeHtml(job.name)}</td>
        <td>${job.exitStatus ?? ''}</td><td>${job.retriedInJobId ? 'retried' : ''}</td></tr>`,
    );
    const data = Object.entries(build.metaData).map(
      ([key, value]) => `<tr><td><code>${escapeHtml(key)}</code></td><td>${escapeHtml(value)}</td></tr>`,
    );
    const logs = build.jobs
      .map((job) => plain(world.log(build, job)))
      .filter((log) => log !== '')
      .map((log) => `<pre>${escapeHtml(log)}</pre>`);
    return `<p><a href="/">All builds</a></p><p>${stateOf(build)} ${escapeHtml(build.message ?? '')}</p>
      <p><code>${escapeHtml(build.commit)}</code> on ${escapeHtml(build.branch)}, source ${build.source},
      created ${restTime(build.createdAt)}</p>
      <p>${offered.map((action) => `<form method="post" action="${pathOf(build)}/${action}"><button>${action}</button></form>`).join('')}</p>
      <h2>Jobs</h2><table>${jobs.join('')}</table>
      <h2>States</h2><p>${build.history.map((entry) => entry.state + (entry.blocked ? ' (blocked)' : '')).join(' → ')}</p>
      <h2>meta_data</h2><table>${data.join('')}</table>${logs.length > 0 ? '<h2>Logs</h2>' : ''}${logs.join('')}`;
  }

  const pathOf = (build: Build): string => buildPage({ ...world, base: '' }, build);
}

const name = (build: Build): string => escapeHtml(`${build.org}/${build.pipeline} #${build.number}`);

const stateOf = (build: Build): string => {
  const tick = isTicked(build.state) ? TICKS[build.state] : '○';
  return `<b class="${build.state}">${tick} ${build.blocked ? 'blocked' : build.state}</b>`;
};

/** The last 2 MB of a log, as the real page shows them, without time marks, colours and what was written over. */
const plain = (log: Buffer): string =>
  log
    .subarray(-2_000_000)
    .toString()
    .split('\n')
    .map((line) => {
      const shown = line.replace(/\r+$/, '').split('\r').at(-1) ?? '';
      const texts = shown.split('\x1b_').map((text, n) => (n === 0 ? text : text.slice(text.indexOf('\x07') + 1)));
      return stripVTControlCharacters(texts.join(''));
    })
    .join('\n');

const document = (title: string, content: string): string =>
  `<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="2"><title>${title}</title>
  <style>${STYLE}</style><h1>${title}</h1>${content}`;
