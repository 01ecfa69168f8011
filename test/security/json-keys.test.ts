import { afterEach, describe, expect, test } from 'vitest';
import { startKnot } from '../../sim/knot/knot.ts';
import { parseFrame } from '../../src/forges/tangled/frame.ts';
import { parseJetstream } from '../../src/forges/tangled/jetstream.ts';
import { parseRecord } from '../../src/forges/tangled/record.ts';
import { parsePipeline } from '../../src/forges/tangled/trigger.ts';
import { buildkiteWebhook } from '../../src/providers/buildkite/webhook.ts';
import { pinRepo } from '../../src/store/repos.ts';
import { freshDatabase } from '../support/database.ts';
import { startKnotIngest } from '../support/ingest.ts';
import { until } from '../support/until.ts';

/** Keys that mean something to JavaScript. As text, since a literal would mean it here. */
const keys = ['__proto__', 'constructor', 'prototype', 'toString', 'valueOf', 'hasOwnProperty', 'toJSON', 'then'];

/** What would be true of every object, if one of them had been written to. */
const isClean = (): boolean => {
  const plain: Record<string, unknown> = {};
  return plain['polluted'] === undefined && Object.keys(Object.prototype).length === 0 && [].length === 0;
};
afterEach(() => expect(isClean()).toBe(true));

/** An object in text, with each of the keys holding what would be good to have. */
const inherited = (good: string): string =>
  `{${keys.map((key) => `"${key}":${good}`).join(',')},"x":{"__proto__":{"polluted":true}}}`;

describe('what is inherited counts for nothing', () => {
  test('in the envelope of a frame', () => {
    const frame = parseFrame(inherited('{"nsid":"sh.tangled.pipeline","rkey":"r","event":{},"created":1}'));
    expect(frame).toEqual({ nsid: '', rkey: '', event: null });
    expect(
      parseFrame('{"nsid":"a","rkey":"r","__proto__":{"rkey":"other"},"__PROTO__":1,"event":{"__proto__":[]}}'),
    ).toMatchObject({
      nsid: 'a',
      rkey: 'r',
    });
  });

  test('in a trigger', () => {
    const good =
      '{"triggerMetadata":{"kind":"push","repo":{"knot":"k","did":"did:plc:x","repo":"r"},"push":{"newSha":"a"}}}';
    expect(parsePipeline(JSON.parse(inherited(good)))).toEqual({ ok: false, reason: 'it has no trigger metadata' });
    const sha = 'a'.repeat(40);
    const some = `{"triggerMetadata":{"kind":"push","repo":{"knot":"k","did":"did:plc:x","__proto__":{"repo":"r"}},"push":{"newSha":"${sha}"}}}`;
    expect(parsePipeline(JSON.parse(some))).toMatchObject({ ok: false });
  });

  test('in a record', () => {
    const value =
      '{"knot":"knot.example","name":"n","spindle":"spindle.example","subject":"did:plc:x","instance":"h.example"}';
    for (const collection of ['sh.tangled.repo', 'sh.tangled.spindle.member', 'sh.tangled.repo.collaborator']) {
      expect(parseRecord(collection, 'r', JSON.parse(inherited(value)))).toMatchObject({
        problem: expect.any(String) as string,
      });
    }
    const named = '{"knot":"knot.example","name":"n","__proto__":{"spindle":"spindle.example"}}';
    expect(parseRecord('sh.tangled.repo', 'r', JSON.parse(named))).toMatchObject({ value: { spindle: null } });
    expect(parseRecord('__proto__', 'r', {})).toMatchObject({
      problem: expect.stringContaining('nobody here reads') as string,
    });
    expect(parseRecord('constructor', 'r', {})).toMatchObject({
      problem: expect.stringContaining('nobody here reads') as string,
    });
  });

  test('in a frame of a jetstream', () => {
    const good = '{"did":"did:plc:x","time_us":1,"kind":"commit","commit":{}}';
    expect(parseJetstream(Buffer.from(inherited(good)))).toMatchObject({ problem: expect.any(String) as string });
    const commit =
      '{"__proto__":{"rev":"3lwz7gq5vks22","operation":"create","collection":"sh.tangled.repo","rkey":"r"}}';
    const frame = `{"did":"did:plc:x","time_us":1700000000000000,"kind":"commit","commit":${commit}}`;
    expect(parseJetstream(Buffer.from(frame))).toMatchObject({ problem: 'its collection is not an NSID' });
  });

  test('in a webhook', () => {
    const parse = buildkiteWebhook({ mode: 'token', secrets: () => ['s'] });
    const read = (text: string) => parse({ 'x-buildkite-token': 's' }, Buffer.from(text), Date.now());
    const good =
      '{"id":"b","state":"running","number":1,"url":"https://x/organizations/a/pipelines/b/builds/1","meta_data":{}}';
    expect(read(`{"event":"build.running","build":${inherited(good)}}`).kind).toBe('ignored');
    expect(read(`{"event":"build.running","__proto__":{"build":${good}}}`).kind).toBe('ignored');
    const meta = '{"__proto__":{"tack:knot":"k","tack:pipeline_rkey":"r","tack:workflow":"w"}}';
    const result = read(`{"event":"build.running","build":${good.replace('"meta_data":{}', `"meta_data":${meta}`)}}`);
    expect(result).toMatchObject({ kind: 'delivery' });
    expect(result).not.toHaveProperty('delivery.address');
  });
});

test('a knot that sends such frames, and endless nests of them, is read on', async ({ onTestFinished }) => {
  const database = await freshDatabase();
  const knot = await startKnot();
  const { sql } = database;
  const repo = { did: 'did:plc:ewvi7nxzyoun6zhxrhs64oiz', name: 'site' };
  await pinRepo(sql, { knot: knot.host, ...repo });
  const ingest = startKnotIngest(sql);
  onTestFinished(async () => {
    await ingest.stop();
    await knot.close();
    await database.drop();
  });
  await knot.connected(1);
  const frame = (event: string, rkey: string) => `{"nsid":"sh.tangled.pipeline","rkey":"${rkey}","event":${event}}`;
  for (const key of keys) knot.raw(frame(inherited(`{"${key}":1}`), `key-${key}`));
  const depths = [10, 100, 1_000, 1_500, 2_000, 5_000, 10_000, 100_000];
  for (const depth of depths) {
    knot.raw(frame(`${'['.repeat(depth)}${']'.repeat(depth)}`, `list-${depth}`));
    knot.raw(frame(`${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`, `map-${depth}`));
  }
  knot.raw(frame(`"${'\\u0000'.repeat(1_000)}\\ud800"`, 'nul'));
  knot.raw(frame(`${'9'.repeat(100_000)}`, 'number'));
  knot.raw(frame('1e999999', 'huge'));
  const { rkey } = knot.push({ repo, workflows: [{ name: 'ci.yml', raw: '' }] });
  await until('the push that follows is stored', async () => {
    const rows = await sql`select from triggers where rkey = ${rkey}`;
    return rows.length === 1;
  });
  expect(knot.connections).toHaveLength(1);
});
