import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { pino } from 'pino';
import { defaultPayloadConverter } from '@temporalio/common';
import { runKey, pipelineId } from '../../src/pipeline/ids.ts';
import { providers } from '../../src/providers/index.ts';
import { planners } from '../../src/providers/planners.ts';
import { planJob } from '../../src/pipeline/plan.ts';
import { buildsOf, endsRight, jobOf, newSha, postsOf, theBuild } from '../support/ci.ts';
import { acting, allHostile, hostile } from '../support/hostile.ts';
import { readEvents } from '../support/reader.ts';
import { buildkiteFile, type Spindle, spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 60_000 });

let whorl: Spindle;
beforeAll(async () => {
  whorl = await spindle({ shared: true });
  return () => whorl.close();
});

/** A workflow file whose every word is hostile. */
const file = (pipeline = 'app'): string =>
  [
    'tack:',
    '  buildkite:',
    `    pipeline: ${pipeline}`,
    `    message: ${JSON.stringify(allHostile)}`,
    `    branch: ${JSON.stringify(hostile.newLine)}`,
    `    env: { ${JSON.stringify(hostile.newLine)}: ${JSON.stringify(allHostile)} }`,
    `    meta_data: { ${JSON.stringify(hostile.html)}: ${JSON.stringify(allHostile)} }`,
  ].join('\n');

test('a push whose every word is hostile runs like any other, and ends right', async () => {
  const sha = newSha();
  const name = `${hostile.markdown}${hostile.clear}\r\n.yml`;
  const pushed = whorl.push(
    { [name]: file(), 'plain.yml': buildkiteFile() },
    { newSha: sha, ref: `refs/heads/${allHostile}` },
  );
  await until('two builds', () => buildsOf(whorl, pushed).length === 2);
  for (const { id } of buildsOf(whorl, pushed)) whorl.ci.finish(id, 'passed');
  await pushed.shows('plain.yml', 'success');
  await pushed.shows(name, 'success');

  // at the CI: in the body, as it was written; nothing of it is in a path
  const [post] = postsOf(whorl, pushed).filter(({ body }) => (body as { message: string }).message === allHostile);
  expect(post?.path).toBe('/v2/organizations/acme/pipelines/app/builds');
  expect(post?.body).toMatchObject({
    message: allHostile,
    meta_data: { 'tack:workflow': name, [hostile.html]: allHostile },
  });

  // in Temporal: words, and no links, pictures or HTML
  const { raw } = await pushed.handle.describe();
  const { summary } = raw.executionConfig?.userMetadata ?? {};
  const told = [summary ? String(defaultPayloadConverter.fromPayload(summary)) : ''];
  const { events } = await pushed.handle.fetchHistory();
  for (const { userMetadata } of events ?? []) {
    if (userMetadata?.summary) told.push(String(defaultPayloadConverter.fromPayload(userMetadata.summary)));
  }
  expect(told.some((text) => text.startsWith('build of '))).toBe(true);
  expect(told[0]).toContain('push');
  const details = await pushed.handle.query<{ currentDetails?: string }>('__temporal_workflow_metadata');
  for (const text of [...told, ...(details.currentDetails ?? '').split('\n')]) {
    expect(text).not.toMatch(/\[click\]\(|!\[x\]\(|<img|<script|https:\/\/evil|www\.evil/);
    expect(text.replaceAll('\u2060', '')).not.toMatch(acting);
  }
  expect(details.currentDetails).toMatch(/\n\| \\\[click\\\]/);
});

test('names of all lengths, or of what nobody sees, run, or are left out where no file could have them', async () => {
  const names = ['\u200b', ' ', '.', '..', '__proto__', 'constructor', `${'字'.repeat(251)}.yml`, '\u202ei.yml'];
  const none = [`${'x'.repeat(4_000)}.yml`, `${'🧵'.repeat(300)}.yml`];
  const files = Object.fromEntries([...none, ...names].map((name) => [name, 'tack: { fake: { delay: 10ms } }']));
  const pushed = whorl.push(
    { ...files, ['__proto__']: 'tack: { fake: { delay: 10ms } }' },
    { ref: `refs/heads/${'b'.repeat(5_000)}` },
  );
  for (const name of names) await pushed.shows(name, 'success');
  await pushed.ended();
  for (const name of none) expect(pushed.seen(name)).toEqual([]);
});

test('an error that the author wrote is one field of one frame', async () => {
  const reader = await readEvents(whorl.url);
  onTestFinished(() => reader.close());
  const pushed = whorl.push({ 'bad.yml': `tack: { fake: { result: failed, error: ${JSON.stringify(allHostile)} } }` });
  await endsRight(whorl, pushed, 'failed', 'bad.yml');
  const mine = reader.frames.filter(({ event }) => event.pipeline.includes(pushed.rkey));
  expect(mine.at(-1)?.event).toMatchObject({
    status: 'failed',
    workflow: 'bad.yml',
    error: expect.stringContaining('gnp.exe') as string,
  });
  const { error } = jobOf(whorl, pushed, 'bad.yml');
  for (const line of (error ?? '').split('\n')) expect(line).not.toMatch(acting);
  for (const { event } of mine) {
    expect(Object.keys(event).toSorted()).toEqual(
      expect.arrayContaining(['createdAt', 'pipeline', 'status', 'workflow']),
    );
  }
});

test('a message of YAML that is wrong says where, and shows nothing that acts', async () => {
  const pushed = whorl.push({ 'bad.yml': `tack: [${hostile.title}${hostile.clear}` });
  await pushed.shows('bad.yml', 'failed');
  const { error } = jobOf(whorl, pushed, 'bad.yml');
  expect(error).toMatch(/^bad\.yml is not valid YAML: .* at line 1, column \d+$/);
  expect(error).not.toMatch(acting);
  await pushed.ended();
});

test('what a build sends to the CI has the same headers, whatever the words of a push are', async () => {
  const requests: { headers: IncomingMessage['rawHeaders']; url: string; body: string }[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      requests.push({ headers: request.rawHeaders, url: request.url ?? '', body });
      response.writeHead(201, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ id: 'b', number: requests.length, state: 'scheduled', source: 'api' }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const ci = providers({
    fake: { pollMs: 1_000 },
    buildkite: {
      apiUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v2`,
      token: () => 't0ken',
      limiter: { reserve: async () => new Date(0), block: async () => {} },
      log: pino({ level: 'silent' }),
      allow: { rules: [{ repo: '**', target: 'acme/*' }] },
    },
  })['buildkite'];
  if (!ci) throw new Error('there is no such provider');
  const create = (words: string, raw: string) => {
    const planned = planJob('ci.yml', raw, planners({ buildkite: { org: 'acme' } }));
    if (planned.refusal !== undefined) throw new Error(planned.refusal);
    const key = runKey(pipelineId('knot.example', 'p0'), words, 1);
    return ci.create(
      {
        runKey: key,
        nonce: 'n',
        postedAt: new Date(),
        spec: {
          provider: 'buildkite',
          target: planned.target as never,
          knot: words,
          rkey: words,
          job: words,
          repo: { did: 'did:plc:x', name: 'site' },
          commit: words,
          branch: words,
          kind: words,
          message: words,
        },
      },
      new AbortController().signal,
    );
  };
  await create('plain', buildkiteFile());
  await create(allHostile, file());
  const [first, second] = requests;
  const headersOf = (sent: typeof first) =>
    (sent?.headers ?? []).filter((_, n, all) => all[n - (n % 2)] !== 'content-length');
  expect(headersOf(second)).toEqual(headersOf(first));
  expect(second?.url).toBe(first?.url);
});

/** What a workflow file would need to say to be taken for somebody else. */
const smuggling: Record<string, { raw: string; refusal?: RegExp }> = {
  'a key of ours in meta_data': { raw: 'meta_data: { "tack:knot": evil }', refusal: /may not set “tack:knot”/ },
  'a key of ours in metadata': { raw: 'metadata: { whorl_nonce: evil }', refusal: /may not set “whorl_nonce”/ },
  'a key of the CI': { raw: 'meta_data: { "buildkite:git:commit": evil }', refusal: /may not set/ },
  'fields of the request': {
    raw: 'ignore_pipeline_branch_filters: false\n    ignore_branch: true\n    author: { name: root }\n    pull_request_id: 7\n    creator: x',
  },
  'variables of ours': { raw: 'env: { TACK_KNOT: evil, "tack:knot": evil, ignore_pipeline_branch_filters: "false" }' },
  'the whole of it': {
    raw: '"meta_data\\0": { "tack:knot": evil }\n    __proto__: { meta_data: { "tack:knot": evil } }',
  },
  'names that look like ours': {
    raw: 'meta_data: { "TACK:KNOT": evil, " tack:knot": evil, "tack：knot": evil, "tack:knot\\u200b": evil }',
    refusal: /./,
  },
};

test.for(Object.entries(smuggling))('a workflow file cannot smuggle %s', async ([, { raw, refusal }]) => {
  const text = `tack:\n  buildkite:\n    pipeline: app\n    ${raw}\n`;
  const planned = planJob('ci.yml', text, planners({ buildkite: { org: 'acme' } }));
  if (refusal && planned.refusal !== undefined) return expect(planned.refusal).toMatch(refusal);
  const pushed = whorl.push({ 'ci.yml': text });
  const build = await theBuild(whorl, pushed);
  const [post] = postsOf(whorl, pushed);
  const { meta_data: meta, ...body } = (post?.body ?? {}) as { meta_data?: Record<string, string> };
  expect(Object.keys(body).toSorted()).toEqual([
    'branch',
    'commit',
    'env',
    'ignore_pipeline_branch_filters',
    'message',
  ]);
  expect(body).toMatchObject({ ignore_pipeline_branch_filters: true });
  expect(meta).toMatchObject({
    'tack:knot': whorl.knot.host,
    'tack:pipeline_rkey': pushed.rkey,
    'tack:workflow': 'ci.yml',
    whorl_nonce: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
  });
  whorl.ci.finish(build.id, 'passed');
  return endsRight(whorl, pushed, 'success').then(() => undefined);
});
