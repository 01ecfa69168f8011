import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test, vi } from 'vitest';
import { newTid } from '../../src/forges/tangled/tid.ts';
import { summarise } from '../../faults/check/index.ts';
import { digested, send, webhookOf } from '../support/ci.ts';
import { buildOf, isBound } from '../support/pipelines.ts';
import { buildkiteFile, type Pushed, type SpindleOptions } from '../support/spindle.ts';
import { until } from '../support/until.ts';
import { breaks, planted, type Witness, witness } from '../support/witness.ts';

vi.setConfig({ testTimeout: 60_000 });

const files = { 'ci.yml': { raw: buildkiteFile(), expect: 'build' } } as const;

async function seenBy(options: SpindleOptions = {}): Promise<Witness> {
  const seen = await witness(options);
  onTestFinished(() => seen.whorl.close());
  return seen;
}

/** A pipeline whose build runs, and is shown to. */
async function running({ whorl, push }: Witness): Promise<{ pushed: Pushed; id: string }> {
  const pushed = push(files);
  const { id } = await buildOf(whorl, pushed);
  await isBound(pushed);
  whorl.ci.advance(id, 'running');
  await pushed.shows('ci.yml', 'running');
  return { pushed, id };
}

async function passes({ whorl }: Witness, pushed: Pushed, id: string): Promise<void> {
  whorl.ci.finish(id, 'passed');
  await pushed.shows('ci.yml', 'success');
  await pushed.ended();
  await digested(whorl);
}

/** Passes every request on, and each POST of a build twice; the first answer is the one that is given. */
async function repeatingProxy() {
  let target = '';
  const server = createServer((request, response) => {
    void (async () => {
      const body = await textOf(request);
      const authorization = request.headers.authorization ?? '';
      const ask = () =>
        fetch(`${target}${request.url ?? ''}`, {
          method: request.method ?? 'GET',
          headers: { authorization, 'content-type': 'application/json' },
          ...(body === '' ? {} : { body }),
        });
      const answer = await ask();
      if (request.method === 'POST') await (await ask()).text();
      response.writeHead(answer.status, { 'content-type': 'application/json' });
      response.end(await answer.text());
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/v2`, to: (url: string) => void (target = new URL(url).origin) };
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const piece of request) text += String(piece);
  return text;
}

test('1: a proxy that repeats the POST of a build', async () => {
  const proxy = await repeatingProxy();
  const seen = await seenBy({ env: { WHORL_BUILDKITE_API_URL: proxy.url } });
  proxy.to(seen.whorl.ci.apiUrl);
  const pushed = seen.push(files);
  const twin = await buildOf(seen.whorl, pushed, 'ci.yml', 2);
  const { id } = await buildOf(seen.whorl, pushed);
  await isBound(pushed);
  await passes(seen, pushed, id);

  const evidence = await seen.evidence();
  const { said, verdicts } = breaks(evidence, 1);
  expect(said).toContain(`${pushed.id} ci.yml, attempt 1: 2 builds at the end`);
  expect(said).toContain(twin.id);
  expect(summarise(evidence, verdicts)).toMatchObject({ doubled: 1, builds: 1, expected_builds: 1 });

  // Cancelled as well, it had no reason to be there.
  seen.whorl.ci.finish(twin.id, 'canceled');
  await until('the CI has told of it', () => seen.whorl.ci.deliveries.every(({ outcome }) => outcome === 'answered'));
  await digested(seen.whorl);
  const later = breaks(await seen.evidence(), 1);
  expect(later.said).toContain('no answer was lost, and nothing was disturbed');
});

test('3: a status of a lower rank that is pushed out of order', async () => {
  const seen = await seenBy();
  const { sql, knot } = seen.whorl;
  const { pushed, id } = await running(seen);
  const rkey = newTid();
  await until('a second has gone by since the last status', async () => {
    const rows = await sql`
      select from jobs where pipeline = ${pushed.id} and shown_at < clock_timestamp() - interval '1 second'`;
    return rows.length === 1;
  });
  await sql`
    with tick as (
      update clock set last = greatest((extract(epoch from clock_timestamp()) * 1000000000)::bigint, last + 1)
      returning last
    ), shown as (
      update jobs set shown_at = date_trunc('milliseconds', clock_timestamp()) where pipeline = ${pushed.id}
      returning shown_at
    )
    insert into statuses (pipeline, knot, pipeline_rkey, job, attempt, epoch, rank, status, error, rkey, created_at, cursor, state)
    select ${pushed.id}, ${knot.host}, ${pushed.rkey}, 'ci.yml', 1, 0, 0, 'pending', 'again', ${rkey}, shown_at, last, 'sent'
    from tick, shown`;
  await sql`select pg_notify('statuses', '')`;
  await pushed.shows('ci.yml', 'pending');
  await passes(seen, pushed, id);

  const evidence = await seen.evidence();
  const { said, verdicts } = breaks(evidence, 3);
  expect(said).toContain(`${pushed.id} ci.yml: running`);
  expect(said).toContain(rkey);
  expect(summarise(evidence, verdicts).rank_violations).toBeGreaterThan(0);
});

test('4: a status for what is not served', async () => {
  const seen = await seenBy();
  const { sql, knot, ci } = seen.whorl;
  const { pushed, id } = await running(seen);
  await passes(seen, pushed, id);
  const unserved = seen.push(files, false);
  const metaData = { 'tack:knot': knot.host, 'tack:pipeline_rkey': unserved.rkey, 'tack:workflow': 'ci.yml' };
  const theirs = ci.create('acme', 'app', { commit: unserved.sha, branch: 'main', metaData });
  ci.finish(theirs.id, 'passed');
  await until('it is refused', async () => {
    const rows = await sql`select from triggers where rkey = ${unserved.rkey} and state = 'refused'`;
    return rows.length === 1;
  });
  await digested(seen.whorl);
  breaks(await seen.evidence());

  await sql`
    insert into pipelines (id, knot, rkey, did, repo, kind, commit, branch, title)
    values (${unserved.id}, ${knot.host}, ${unserved.rkey}, 'did:web:x', 'x', 'push', ${unserved.sha}, 'main', 'x')`;
  await sql`
    with tick as (
      update clock set last = greatest((extract(epoch from clock_timestamp()) * 1000000000)::bigint, last + 1)
      returning last
    )
    insert into statuses (pipeline, knot, pipeline_rkey, job, attempt, epoch, rank, status, rkey, created_at, cursor, state)
    select ${unserved.id}, ${knot.host}, ${unserved.rkey}, 'ci.yml', 1, 0, 2, 'success', ${newTid()}, now(), last, 'sent'
    from tick`;
  await sql`select pg_notify('statuses', '')`;
  const { said } = breaks(await seen.evidence(), 4);
  expect(said).toContain(`${unserved.id} ci.yml, which is not to be served, has the status success`);
  expect(said).toContain(theirs.id);
});

test('4: a webhook that is not the CI’s, and was believed', async () => {
  const seen = await seenBy();
  const { ci } = seen.whorl;
  const { pushed, id } = await running(seen);
  const requestId = randomUUID();
  const { body } = webhookOf(seen.whorl, id, 'build.running');
  expect(await send(seen.whorl, { event: 'build.running', requestId, body })).toBe(200);
  await digested(seen.whorl);
  await passes(seen, pushed, id);
  const of = ci.deliveries.find(({ build }) => build?.id === id);
  if (!of) throw new Error('the CI has sent nothing');
  const { body: _body, headers: _headers, ...about } = of;
  seen.forged.push({ ...about, event: 'build.running', requestId, status: 200, outcome: 'answered', forged: true });

  const { said } = breaks(await seen.evidence(), 4);
  expect(said).toContain(`${pushed.id} ci.yml: the forged build.running about build ${id}`);
});

test('5: a secret in a history', async () => {
  const seen = await seenBy();
  const { pushed, id } = await running(seen);
  await pushed.handle.signal('watch', { job: `no job, but ${planted}` });
  await passes(seen, pushed, id);
  const { said } = breaks(await seen.evidence(), 5);
  expect(said).toContain(`a planted secret is in history ${pushed.id}`);
  expect(said).not.toContain('5bd0f4c1e9a7');
});

test('6: a workflow that somebody terminated', async () => {
  const seen = await seenBy();
  const { pushed, id } = await running(seen);
  await passes(seen, pushed, id);
  const next = await running(seen);
  await next.pushed.handle.terminate();
  // What it had said is still right.
  const { said } = breaks(await seen.evidence(), 6);
  expect(said).toContain(`${next.pushed.id} (run `);
  expect(said).toContain('ended as TERMINATED');
});

test('7: a build that goes on after its cancel was carried out', async () => {
  const seen = await seenBy();
  const { ci, sql } = seen.whorl;
  const { pushed, id } = await running(seen);
  // A CI that answers and does nothing.
  ci.onRequest({ route: 'cancel' }, { name: 'ignored', before: () => ({ status: 200, body: {} }) });
  const { state } = await seen.whorl.command('cancel', pushed.id);
  expect(state).toBe('done');
  await until('the CI was asked', () => ci.requests.some(({ route, status }) => route === 'cancel' && status === 200));
  const [asked] = await sql<{ id: string }[]>`select id from commands where kind = 'cancel'`;
  await pushed.shows('ci.yml', 'cancelled');
  await pushed.ended();
  const { said } = breaks(await seen.evidence(), 2, 7);
  expect(said).toContain(`${pushed.id} ci.yml: cancel ${asked?.id}`);
  expect(said).toContain(`(${id}) is running and has not ended`);
  // It says that it was cancelled, and the build runs.
});
