import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseCursor } from '../../src/forges/tangled/cursor.ts';
import { eventTime, type Frame, parseFrame } from '../../src/forges/tangled/frame.ts';
import { NSID } from '../../src/forges/tangled/nsid.ts';
import { statusFrame, statusRecord } from '../../src/forges/tangled/status.ts';
import { newTid, tidAt, tidMaker, tidTime } from '../../src/forges/tangled/tid.ts';
import { parsePipeline } from '../../src/forges/tangled/trigger.ts';
import { parsePipelineUri, pipelineUri } from '../../src/forges/tangled/uri.ts';

const captured = readFileSync(new URL('../fixtures/knot-events.ndjson', import.meta.url), 'utf8')
  .trim()
  .split('\n');
const SHA = 'c132516e9745a0ed0666e03d6a0a1d8d2b5a76bc';
const DID = 'did:plc:ewvi7nxzyoun6zhxrhs64oiz';
const TID = '3n2rsm36hgg22';

function frameOf(text: string): Frame {
  const frame = parseFrame(text);
  if ('problem' in frame) throw new Error(frame.problem);
  return frame;
}

function triggerOf(event: unknown) {
  const parsed = parsePipeline(event);
  if (!parsed.ok) throw new Error(parsed.reason);
  return parsed.trigger;
}

describe('the captured frames of a real knot', () => {
  const ref = (rkey: string, ref: string) => `${rkey} refUpdate ${ref}`;
  const run = (rkey: string, ref: string, commit: string, jobs: string) => `${rkey} pipeline ${ref} ${commit} ${jobs}`;

  test('hold these pushes and pipelines', () => {
    const seen = captured.map((line) => {
      const { nsid, rkey, event, created } = frameOf(line);
      expect(created).toBeUndefined();
      if (nsid === NSID.refUpdate) return ref(rkey, (event as { ref: string }).ref);
      expect(nsid).toBe(NSID.pipeline);
      const trigger = triggerOf(event);
      expect(trigger).toMatchObject({ kind: 'push', dropped: 0, duplicates: 0 });
      expect(trigger.repo).toEqual({ knot: '127.0.0.1:5555', did: DID, name: 'whorl-demo' });
      const jobs = trigger.workflows.map((workflow) => workflow.name).join(',');
      return run(rkey, trigger.ref ?? '', trigger.commit.slice(0, 7), jobs);
    });
    expect(seen).toEqual([
      ref('3n2rsm36bs222', 'refs/heads/main'),
      run('3n2rsm36hgg22', 'refs/heads/main', 'c132516', 'ci.yml,lint.yml'),
      ref('3n2rsm37tgm22', 'refs/heads/main'),
      run('3n2rsm37w7322', 'refs/heads/main', '1d40476', 'ci.yml,lint.yml'),
      ref('3n2rsm3bi4g22', 'refs/heads/release/1.0/rc'),
      run('3n2rsm3bmpo22', 'refs/heads/release/1.0/rc', 'c2ae16a', 'ci.yml'),
      ref('3n2rsm3d5g222', 'refs/heads/feature/x'),
      ref('3n2rsm3egfq22', 'refs/tags/v1.2.3'),
      run('3n2rsm3ejez22', 'refs/tags/v1.2.3', 'c27fcf7', 'lint.yml'),
      ref('3n2rsm3fmh522', 'refs/tags/nightly-1'),
      ref('3n2rsm3h6je22', 'refs/heads/main'),
      ref('3n2rsm3ih4w22', 'refs/heads/main'),
      run('3n2rsm3ikod22', 'refs/heads/main', '4f987a1', 'ci.yml,lint.yml'),
    ]);
  });

  test('are timed by their TIDs, in the order they came', () => {
    const times = captured.map((line) => eventTime(frameOf(line)) ?? 0n);
    expect(times).toEqual(times.toSorted((a, b) => (a < b ? -1 : 1)));
    expect(new Date(Number((times[0] ?? 0n) / 1_000_000n)).toISOString()).toMatch(/^2026-11-2/);
  });

  test('keep the workflow file whole, and tell branches, tags and new refs apart', () => {
    const first = triggerOf(frameOf(captured[1] ?? '').event);
    expect(first).not.toHaveProperty('oldSha');
    expect(first.branch).toBe('main');
    expect(first.workflows[1]).toEqual({
      name: 'lint.yml',
      engine: 'tack',
      clone: { depth: 0, skip: false, submodules: false },
      raw: 'engine: tack\nwhen:\n  - event: [push]\n    branch: [main]\n  - event: push\n    tag: "v*"\ntack:\n  buildkite:\n    pipeline: lint\n    branch: main\n',
    });
    expect(triggerOf(frameOf(captured[3] ?? '').event).oldSha).toBe(SHA);
    const tagged = triggerOf(frameOf(captured[8] ?? '').event);
    expect(tagged.tag).toBe('v1.2.3');
    expect(tagged).not.toHaveProperty('branch');
    expect(triggerOf(frameOf(captured[5] ?? '').event).branch).toBe('release/1.0/rc');
  });
});

describe('an envelope', () => {
  test('gives its created exactly, though it exceeds 2^53', () => {
    const frame = frameOf(`{"created":1779400000123456789,"nsid":"a.b","rkey":"${TID}","event":{}}`);
    expect(frame.created).toBe(1779400000123456789n);
    expect(eventTime(frame)).toBe(1779400000123456789n);
  });

  test.each([
    ['inside the event', `{"event":{"created":5},"nsid":"a","rkey":"${TID}"}`, undefined],
    ['inside the event, and after it', `{"event":{"created":5},"nsid":"a","rkey":"${TID}","created":7}`, 7n],
    ['before an event that has one too', `{"created":7,"event":{"x":{"created":5}},"nsid":"a","rkey":"${TID}"}`, 7n],
    ['in text within the event', `{"event":"\\"created\\":5","nsid":"a","rkey":"${TID}"}`, undefined],
    ['with another case', `{"Created":7,"NSID":"a","RKey":"${TID}","Event":{}}`, 7n],
    ['as text', `{"created":"7","nsid":"a","rkey":"${TID}"}`, 7n],
    ['as zero, which is absent', `{"created":0,"nsid":"a","rkey":"${TID}"}`, undefined],
    ['as null', `{"created":null,"nsid":"a","rkey":"${TID}"}`, undefined],
    ['with a fraction', `{"created":7.5,"nsid":"a","rkey":"${TID}"}`, undefined],
    ['beyond 64 bits', `{"created":9223372036854775808,"nsid":"a","rkey":"${TID}"}`, undefined],
    ['negative', `{"created":-7,"nsid":"a","rkey":"${TID}"}`, undefined],
  ])('with created %s', (_name, text, created) => {
    expect(frameOf(text).created).toBe(created);
  });

  test('may have its keys in another case, and keys that nobody knows', () => {
    expect(frameOf(`{"Rkey":"${TID}","NSID":"a.b","EVENT":{"A":1},"seq":3}`)).toEqual({
      nsid: 'a.b',
      rkey: TID,
      event: { A: 1 },
    });
  });

  test.each(['{"type":"ping"}', '{}', '{"nsid":null,"rkey":""}'])('without a type is a keepalive: %s', (text) => {
    expect(frameOf(text)).toEqual({ nsid: '', rkey: '', event: null });
  });

  test.each([
    ['', /not JSON/],
    ['{"nsid":', /not JSON/],
    ['[1]', /not a JSON object/],
    ['null', /not a JSON object/],
    ['"ping"', /not a JSON object/],
    ['{"nsid":5}', /nsid is not a string/],
    ['{"nsid":"a","rkey":5}', /rkey is not a string/],
    ['{"nsid":"a"}', /not a record key/],
    ['{"nsid":"a","rkey":"x/y"}', /not a record key/],
    ['{"nsid":"a","rkey":".."}', /not a record key/],
    ['{"nsid":"a","rkey":"a\\u0000"}', /not a record key/],
  ])('that cannot be read says why: %s', (text, problem) => {
    expect(parseFrame(text)).toEqual({ problem: expect.stringMatching(problem) });
  });

  test('nested too deep for the parser is a problem, not a crash', () => {
    expect(parseFrame(`${'['.repeat(200_000)}${']'.repeat(200_000)}`)).toHaveProperty('problem');
  });

  test('without created and without a TID has no time', () => {
    expect(eventTime({ rkey: 'self' })).toBeUndefined();
  });
});

describe('a trigger', () => {
  const repo = { knot: 'knot.example:5555', did: 'did:plc:owner', repo: 'demo', defaultBranch: '' };
  const push = { ref: 'refs/heads/main', newSha: SHA, oldSha: '0'.repeat(40) };
  const event = (meta: object, rest: object = { workflows: [] }) => ({ triggerMetadata: meta, ...rest });

  test('of a push may lack everything that we can do without', () => {
    expect(triggerOf(event({ kind: 'push', repo, push: { newSha: SHA } }, {}))).toEqual({
      kind: 'push',
      repo: { knot: 'knot.example:5555', did: 'did:plc:owner', name: 'demo' },
      commit: SHA,
      workflows: [],
      dropped: 0,
      duplicates: 0,
    });
  });

  test('of generation B brings the DID of the repository', () => {
    const both = triggerOf(
      event({ kind: 'push', repo: { ...repo, repoDid: 'did:plc:repo', defaultBranch: 'main' }, push }),
    );
    expect(both.repo).toMatchObject({ name: 'demo', repoDid: 'did:plc:repo', defaultBranch: 'main' });
    const didOnly = triggerOf(event({ kind: 'push', repo: { ...repo, repo: null, repoDid: 'did:plc:repo' }, push }));
    expect(didOnly.repo).toMatchObject({ name: '', repoDid: 'did:plc:repo' });
  });

  test('of a pull request builds its source', () => {
    const pullRequest = { action: 'create', sourceBranch: 'feat', sourceSha: SHA, targetBranch: 'main', pull: null };
    const trigger = triggerOf(event({ kind: 'pull_request', repo, pullRequest }));
    expect(trigger).toMatchObject({
      kind: 'pull_request',
      commit: SHA,
      branch: 'feat',
      pullRequest: { sourceBranch: 'feat', targetBranch: 'main', action: 'create' },
    });
    expect(trigger).not.toHaveProperty('ref');
    expect(trigger.pullRequest).not.toHaveProperty('pull');
  });

  test('by hand brings its inputs', () => {
    const inputs = [{ key: 'level', value: '3' }, { key: '', value: 'x' }, null, { key: 'odd', value: 5 }];
    const trigger = triggerOf(
      event({ kind: 'manual', repo, manual: { sha: SHA.toUpperCase(), ref: 'refs/tags/v1', inputs } }),
    );
    expect(trigger).toMatchObject({ kind: 'manual', commit: SHA, tag: 'v1' });
    expect(trigger.inputs).toEqual([
      { key: 'level', value: '3' },
      { key: 'odd', value: '' },
    ]);
  });

  test('of an unknown kind is taken at its word if it names a commit', () => {
    expect(triggerOf(event({ kind: 'schedule', repo, push })).kind).toBe('schedule');
    expect(triggerOf(event({ kind: null, repo, push })).kind).toBe('push');
  });

  test('keeps 50 KB of YAML', () => {
    const raw = `# ${'ü'.repeat(50_000)}\n`;
    const frame = frameOf(
      JSON.stringify({
        nsid: NSID.pipeline,
        rkey: TID,
        event: event({ kind: 'push', repo, push }, { workflows: [{ name: 'ci.yml', raw }] }),
      }),
    );
    expect(triggerOf(frame.event).workflows).toEqual([{ name: 'ci.yml', raw }]);
  });

  test('drops entries without a name and second ones of a name, and counts them', () => {
    const workflows = [
      null,
      { raw: 'x' },
      { name: '' },
      { name: 7 },
      'ci.yml',
      { name: 'ci.yml', raw: 'first', engine: null, clone: 'no' },
      { name: 'ci.yml', raw: 'second' },
      { name: 'two keys é.yml', raw: null, clone: { depth: -1, skip: true } },
    ];
    expect(triggerOf(event({ kind: 'push', repo, push }, { workflows }))).toMatchObject({
      dropped: 5,
      duplicates: 1,
      workflows: [
        { name: 'ci.yml', raw: 'first' },
        { name: 'two keys é.yml', raw: '', clone: { depth: 0, skip: true, submodules: false } },
      ],
    });
  });

  test.each([
    ['no object', null, /not an object/],
    ['text', 'push', /not an object/],
    ['no metadata', { workflows: [] }, /no trigger metadata/],
    ['no repo', event({ kind: 'push', push }), /no repository/],
    ['null repo', event({ kind: 'push', repo: null, push }), /no repository/],
    ['no knot', event({ kind: 'push', repo: { ...repo, knot: '' }, push }), /no knot/],
    ['no owner', event({ kind: 'push', repo: { ...repo, did: 12 }, push }), /no owner/],
    ['an owner that is no DID', event({ kind: 'push', repo: { ...repo, did: 'alice' }, push }), /not a DID/],
    ['no name', event({ kind: 'push', repo: { ...repo, repo: '' }, push }), /neither a name nor a DID/],
    ['no kind', event({ repo }), /no kind/],
    ['no push', event({ kind: 'push', repo }), /push trigger names no commit/],
    ['another body than its kind', event({ kind: 'pull_request', repo, push }), /names no commit/],
    ['a short sha', event({ kind: 'push', repo, push: { ...push, newSha: 'c132516' } }), /not 40 hex/],
    ['a deletion', event({ kind: 'push', repo, push: { ...push, newSha: '0'.repeat(40) } }), /deleted ref/],
    ['a manual run without commit', event({ kind: 'manual', repo, manual: {} }), /manual trigger names no commit/],
    ['workflows that are no list', event({ kind: 'push', repo, push }, { workflows: { a: 1 } }), /not a list/],
  ])('with %s is refused with a reason', (_name, value, reason) => {
    expect(parsePipeline(value)).toEqual({ ok: false, reason: expect.stringMatching(reason) });
  });
});

describe('TIDs', () => {
  test('carry their time', () => {
    const time = 1_795_220_930_422_551_000n;
    expect(tidTime(tidAt(time))).toBe(time);
    expect(tidTime(tidAt(time + 999n, 1023))).toBe(time);
    expect(tidTime(tidAt(1_795_220_930_422))).toBe(1_795_220_930_422_000_000n);
  });

  test.each(['', 'self', '3n2rsm36hgg2', '3n2rsm36hgg222', '0n2rsm36hgg22', 'zn2rsm36hgg22', 'jzzzzzzzzzz22'])(
    '%j has no time that we can use',
    (text) => expect(tidTime(text)).toBeUndefined(),
  );

  test('of one process only grow, also within a microsecond and when the clock is set back', () => {
    const clock = [5_000, 5_000, 5_001, 1_000, 9_000].map((time) => tidAt(time));
    const next = tidMaker(() => clock.shift() ?? '');
    const made = [next(), next(), next(), next(), next()];
    expect(made).toEqual(made.toSorted());
    expect(new Set(made).size).toBe(5);
    const many = Array.from({ length: 2_000 }, newTid);
    expect(many).toEqual(many.toSorted());
    expect(new Set(many).size).toBe(2_000);
  });
});

describe('a cursor', () => {
  test.each([
    [undefined, undefined],
    [null, undefined],
    ['', undefined],
    ['0', undefined],
    ['000', undefined],
    ['now', undefined],
    ['1.5', undefined],
    ['1e18', undefined],
    ['0x10', undefined],
    [' 1', undefined],
    ['9223372036854775808', undefined],
    ['9'.repeat(30), undefined],
    ['1', 1n],
    ['-1', -1n],
    ['1779400000123456789', 1779400000123456789n],
    ['9223372036854775807', 9223372036854775807n],
  ])('%j is %s', (text, cursor) => expect(parseCursor(text)).toBe(cursor));
});

describe('a status', () => {
  const input = {
    knot: 'localhost:6000',
    rkey: TID,
    workflow: 'two keys é.yml',
    status: 'failed',
    createdAt: '2026-01-10T12:00:03.500Z',
  } as const;

  test('names its pipeline with the port as it is', () => {
    expect(pipelineUri('localhost:6000', TID)).toBe(`at://did:web:localhost:6000/sh.tangled.pipeline/${TID}`);
    expect(parsePipelineUri(pipelineUri('localhost:6000', TID))).toEqual({ knot: 'localhost:6000', rkey: TID });
    expect(parsePipelineUri(`at://did:web:localhost%3A6000/sh.tangled.pipeline/${TID}`)).toBeUndefined();
  });

  test('is written as the lexicon has it', () => {
    expect(statusRecord(input)).toEqual({
      $type: 'sh.tangled.pipeline.status',
      pipeline: `at://did:web:localhost:6000/sh.tangled.pipeline/${TID}`,
      workflow: 'two keys é.yml',
      status: 'failed',
      createdAt: '2026-01-10T12:00:03.500Z',
    });
    expect(statusRecord({ ...input, error: 'exit 1', exitCode: 0 })).toMatchObject({ error: 'exit 1', exitCode: 0 });
  });

  test('goes out in an envelope without a time of its own', () => {
    const frame = statusFrame('3n2rsm37w7322', input);
    expect(Object.keys(JSON.parse(frame) as object)).toEqual(['event', 'nsid', 'rkey']);
    expect(frameOf(frame)).toEqual({
      nsid: 'sh.tangled.pipeline.status',
      rkey: '3n2rsm37w7322',
      event: statusRecord(input),
    });
  });
});
