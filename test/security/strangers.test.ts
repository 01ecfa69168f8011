import { beforeAll, describe, expect, test, vi } from 'vitest';
import { type KnotSim, startKnot } from '../../sim/knot/knot.ts';
import { allows } from '../../src/allow.ts';
import { pinRepo } from '../../src/store/repos.ts';
import { buildsOf, digested, endsRight, jobOf, newSha, postsOf, send, theBuild } from '../support/ci.ts';
import { readLogs } from '../support/logs.ts';
import { shown } from '../support/pipelines.ts';
import { buildkiteFile, repo, type Spindle, spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 60_000 });

const mallory = { did: 'did:plc:mmmmmmmmmmmmmmmmmmmmmmmm', name: 'evil' };
const files = [{ name: 'ci.yml', raw: buildkiteFile() }];
let whorl: Spindle;
/** A knot that another repository is served from; whoever runs it sends what they like. */
let evil: KnotSim;

beforeAll(async () => {
  const allow = [`${repo.did}/* -> acme/app`, `${mallory.did}/* -> acme/lint`, 'alice.example/* -> acme/whorl-demo'];
  whorl = await spindle({ shared: true, env: { WHORL_BUILDKITE_ALLOW: allow.join('\n') } });
  evil = await startKnot();
  await pinRepo(whorl.sql, { knot: evil.host, ...mallory });
  await evil.connected(1);
  return async () => {
    await whorl.close();
    await evil.close();
  };
});

const triggerOf = async (knot: string, rkey: string) => {
  const [row] = await whorl.sql<{ state: string; reason: string | null }[]>`
    select state, reason from triggers where knot = ${knot} and rkey = ${rkey}`;
  return row;
};
const fateOf = (knot: string, rkey: string) =>
  until(`the fate of ${rkey}`, async () => {
    const row = await triggerOf(knot, rkey);
    return row && row.state !== 'new' ? row : undefined;
  });

describe('a knot', () => {
  test('starts nothing for a repository that is served from another one', async () => {
    const { rkey } = evil.push({ repo, workflows: files });
    expect(await fateOf(evil.host, rkey)).toMatchObject({
      state: 'held',
      reason: expect.stringContaining('is not known to this spindle') as string,
    });
  });

  test('starts nothing in the name of another knot', async () => {
    const { rkey } = evil.push({ repo, workflows: files, knot: whorl.knot.host });
    const fate = await fateOf(evil.host, rkey);
    expect(fate.state).toBe('refused');
    expect(fate.reason).toBe(`The event names the knot ${whorl.knot.host}, but it came from ${evil.host}.`);
    expect(await triggerOf(whorl.knot.host, rkey)).toBeUndefined();
  });

  test.each([
    'WHORL.example',
    `${repo.did}/..`,
    '../whorl-demo',
    'whorl-demo/',
    'whorl-demo\u200b',
    'Whorl-Demo',
    ' whorl-demo',
    'whorl%2Ddemo',
    'x/../whorl-demo',
  ])('starts nothing for a name that is nearly that of a repository: %j', async (name) => {
    const { rkey } = whorl.knot.push({ repo: { ...repo, name }, workflows: files });
    expect((await fateOf(whorl.knot.host, rkey)).state).toBe('held');
  });

  test('that uses the key of a pipeline of another knot makes a pipeline of its own, and changes nothing of the other', async () => {
    const pushed = whorl.push({ 'ci.yml': buildkiteFile() });
    const { id } = await theBuild(whorl, pushed);
    const sha = newSha();
    evil.push({
      repo: mallory,
      workflows: [{ name: 'ci.yml', raw: buildkiteFile('lint') }],
      rkey: pushed.rkey,
      newSha: sha,
    });
    const [theirs] = await until('a build of its own', () => {
      const found = buildsOf(whorl, { sha });
      return found.length > 0 ? found : undefined;
    });
    expect(theirs?.pipeline).toBe('lint');
    expect(buildsOf(whorl, pushed)).toHaveLength(1);
    whorl.ci.finish(theirs?.id ?? '', 'failed');
    whorl.ci.finish(id, 'passed');
    await endsRight(whorl, pushed, 'success');
    expect(jobOf(whorl, pushed).status).toBe('success');
  });

  test('cannot put a pipeline outside of its own name by its key', async () => {
    for (const rkey of ['../x/y', 'a/b', '..', '.', 'a b', 'a%2Fb', 'é']) {
      evil.raw(JSON.stringify({ nsid: 'sh.tangled.pipeline', rkey, event: {} }));
    }
    await until('all were stepped over', async () => {
      const kept = await whorl.sql`select from refused_frames where source = ${`knot/${evil.host}`}`;
      return kept.length >= 7;
    });
    expect(await whorl.sql`select from triggers where knot = ${evil.host} and rkey ~ '[^A-Za-z0-9._:~-]'`).toEqual([]);
  });
});

describe('the allow-list', () => {
  /** How a job stands that wants a pipeline, and why. */
  async function asked(pipeline: string, more: Record<string, unknown> = {}) {
    const pushed = whorl.push({ 'ci.yml': `tack:\n  buildkite:\n    pipeline: ${JSON.stringify(pipeline)}\n` }, more);
    const job = await until('a reason', () => {
      const found = whorl.appview.view(whorl.knot.host, pushed.rkey)?.jobs['ci.yml'];
      return found?.error === undefined ? undefined : found;
    });
    expect(buildsOf(whorl, pushed)).toEqual([]);
    return { ...job, pushed };
  }

  test('keeps a job waiting whose pipeline is for others, with a reason that says nothing of them', async () => {
    const { status, error, pushed } = await asked('lint');
    expect(status).toBe('pending');
    expect(error).toMatch(/does not let did:plc:\w+\/whorl-demo use the Buildkite pipeline acme\/lint/);
    expect(error).toContain('allow-list');
    for (const secret of [mallory.did, mallory.name, 'alice.example', 'acme/whorl-demo'])
      expect(error).not.toContain(secret);
    await pushed.handle.terminate();
  });

  test.each([
    '../acme/lint',
    'app/../lint',
    '..',
    '.',
    './lint',
    'app%2F..%2Flint',
    'app?x=lint',
    'app#lint',
    'lint\u200b',
    'ａpp',
    'app lint',
    'app\nlint',
    'lint/',
    '/lint',
    'acme/lint',
    '*',
    'app*',
    '{app,lint}',
    '-app',
  ])('is not asked about what is no name of a pipeline: %j', async (pipeline) => {
    const { status, error } = await asked(pipeline);
    expect([status, error]).toEqual(['failed', expect.stringContaining('tack.buildkite.pipeline is not a slug')]);
  });

  test.each(['APP', 'App', 'app.', 'app_', 'apps', 'ap'])(
    'takes another spelling for another pipeline: %s',
    async (pipeline) => {
      const { status, error, pushed } = await asked(pipeline);
      expect([status, error]).toEqual(['pending', expect.stringContaining(`the Buildkite pipeline acme/${pipeline}.`)]);
      await pushed.handle.terminate();
    },
  );

  test('takes another organisation for another one', async () => {
    const raw = 'tack: { buildkite: { org: Acme, pipeline: app } }';
    const pushed = whorl.push({ 'ci.yml': raw });
    await until('a reason', () => whorl.appview.view(whorl.knot.host, pushed.rkey)?.jobs['ci.yml']?.error);
    expect(buildsOf(whorl, pushed)).toEqual([]);
    await pushed.handle.terminate();
  });

  const rules = [
    { repo: 'did:plc:alice/site', target: 'acme/site' },
    { repo: 'did:plc:bob/*', target: 'acme/bob-*' },
    { repo: 'alice.example/*', target: 'acme/alice' },
  ];
  test.each([
    ['did:plc:bob/x', 'acme/bob-1', true],
    ['did:plc:bob/.x', 'acme/bob-1', true],
    ['did:plc:bob/a/b', 'acme/bob-1', false],
    ['did:plc:bob/../did:plc:alice/site', 'acme/site', false],
    ['did:plc:bob/../../did:plc:alice/site', 'acme/bob-1', false],
    ['did:plc:bob/\nx', 'acme/site', false],
    ['did:plc:alice/site\n', 'acme/site', false],
    ['did:plc:alice/SITE', 'acme/site', false],
    ['did:plc:alice/site/', 'acme/site', false],
    ['./did:plc:alice/site', 'acme/site', false],
    ['did:plc:eve/did:plc:alice/site', 'acme/site', false],
    ['did:plc:eve/alice.example', 'acme/alice', false],
    ['did:plc:eve/alice.example/site', 'acme/alice', false],
    ['alice.example.evil/x', 'acme/alice', false],
    ['did:web:alice.example/x', 'acme/alice', false],
    ['did:plc:bob/x', 'acme/bob-1/../site', false],
    ['did:plc:bob/x', 'acme/BOB-1', false],
    ['did:plc:bob/*', 'acme/site', false],
    ['{did:plc:alice/site,x}', 'acme/site', false],
    ['!did:plc:eve/x', 'acme/site', false],
  ])('reads names as names, and no name as a pattern: %j may use %s: %s', (name, target, allowed) => {
    expect(allows(rules, [name], target)).toBe(allowed);
  });

  test.each(['*/*', '**', '*a*a*/*', '+(a|aa)/*'])(
    'a pattern as people write them costs little, whatever the name: %s',
    (pattern) => {
      for (const name of [`${'a'.repeat(256)}/`, `did:plc:x/${'a'.repeat(256)}!`, `${'a/'.repeat(128)}b`]) {
        expect(typeof allows([{ repo: pattern, target: 'acme/x' }], [name], 'acme/x')).toBe('boolean');
      }
    },
  );
});

describe('whoever can reach the public face', () => {
  test.each(['POST', 'PUT', 'PATCH', 'DELETE'])('changes nothing there by %s', async (method) => {
    for (const path of [
      '/',
      '/events',
      '/logs/k/r/w',
      '/commands',
      '/cancel',
      '/xrpc/sh.tangled.pipeline.cancelPipeline',
      '/xrpc/sh.tangled.owner',
      '/healthz',
    ]) {
      const { status } = await fetch(`${whorl.url}${path}`, { method, body: method === 'DELETE' ? null : '{}' });
      expect([403, 404, 405, 415, 501]).toContain(status);
    }
    expect(await whorl.sql`select from commands`).toEqual([]);
  });

  test('asks, by reading a log, for nothing but that it is followed, and once for all who read it', async () => {
    const pushed = whorl.push({ 'ci.yml': buildkiteFile() });
    const build = await theBuild(whorl, pushed);
    whorl.ci.advance(build.id, 'running');
    await pushed.shows('ci.yml', 'running');
    const path = `${whorl.knot.host}/${pushed.rkey}/ci.yml`;
    const readers = await Promise.all(Array.from({ length: 20 }, () => readLogs(whorl.url, path)));
    const commands = await until('a command', async () => {
      const found = await whorl.sql<{ kind: string }[]>`select kind from commands where pipeline = ${pushed.id}`;
      return found.length > 0 ? found : undefined;
    });
    expect(commands).toEqual([{ kind: 'watch' }]);
    await Promise.all(readers.map((reader) => reader.close()));
    expect(jobOf(whorl, pushed).status).toBe('running');
    whorl.ci.finish(build.id, 'passed');
    await endsRight(whorl, pushed, 'success');
  });
});

test('all webhooks of a pipeline that has ended, sent again under fresh signatures and other names, change nothing', async () => {
  const pushed = whorl.push({ 'ci.yml': buildkiteFile() });
  const { id } = await theBuild(whorl, pushed);
  whorl.ci.advance(id, 'running');
  await pushed.shows('ci.yml', 'running');
  whorl.ci.finish(id, 'failed');
  await endsRight(whorl, pushed, 'failed');
  const before = await shown(whorl, pushed);
  const mine = whorl.ci.deliveries.filter(({ build }) => build?.id === id);
  expect(mine.length).toBeGreaterThan(2);
  for (const round of ['again', 'and again']) {
    for (const delivery of mine.toReversed()) {
      expect(await send(whorl, { ...delivery, requestId: `${round} ${delivery.requestId}` })).toBe(200);
    }
  }
  await digested(whorl);
  // that a build runs which had ended may be true, so it is read again; then all is as it was
  await pushed.ended();
  expect(await shown(whorl, pushed)).toEqual(before);
  expect(buildsOf(whorl, pushed)).toHaveLength(1);
  expect(postsOf(whorl, pushed)).toHaveLength(1);
  expect(jobOf(whorl, pushed).status).toBe('failed');
});
