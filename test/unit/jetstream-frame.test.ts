import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { maxFrameBytes, parseJetstream } from '../../src/forges/tangled/jetstream.ts';

const captured = readFileSync(new URL('../fixtures/jetstream-events.ndjson', import.meta.url), 'utf8')
  .trim()
  .split('\n');
const did = 'did:plc:hgnnks5sjbyfk5sxbc2v77gh';
const parse = (frame: unknown) =>
  parseJetstream(Buffer.from(typeof frame === 'string' ? frame : JSON.stringify(frame)));
const commit = {
  rev: '3n2rtswyzb222',
  operation: 'create',
  collection: 'sh.tangled.repo',
  rkey: '3n2rsrepo2222',
  record: { knot: 'knot.example' },
  cid: 'bafy',
};
const frame = { did, time_us: 1_795_220_930_422_551, kind: 'commit', commit };
const time = 1_795_220_930_422_551_000n;

test('every captured frame is a commit, with its time to the microsecond', () => {
  const events = captured.map((line) => parse(line));
  expect(events.map((event) => ('kind' in event ? event.kind : event.problem))).toEqual(captured.map(() => 'commit'));
  expect(events[0]).toEqual({
    did,
    time,
    kind: 'commit',
    rev: '3n2rtswyzb222',
    operation: 'create',
    collection: 'sh.tangled.spindle.member',
    rkey: '3n2rsmember22',
    record: {
      $type: 'sh.tangled.spindle.member',
      createdAt: '2026-11-21T00:28:49.722Z',
      instance: '127.0.0.1:6555',
      subject: 'did:plc:u2dbtw275tbhyjymoob3d2wz',
    },
  });
  expect(events[2]).toMatchObject({ operation: 'delete', rkey: '3n2rsmember23', record: undefined });
});

const { cid: _cid, ...read } = commit;
test.each([
  ['of the first version', frame, { ...read, kind: 'commit' }],
  ['of the second, with its own cursor', { ...frame, cursor: 12 }, { ...read, kind: 'commit' }],
  ['whose time is text', { ...frame, time_us: '1795220930422551' }, { ...read, kind: 'commit' }],
  [
    'that deletes',
    { ...frame, commit: { ...commit, operation: 'delete' } },
    { ...read, kind: 'commit', operation: 'delete', record: undefined },
  ],
  ['about an identity', { did, time_us: frame.time_us, kind: 'identity', identity: { did } }, { kind: 'identity' }],
  [
    'about an account that is gone',
    {
      did,
      time_us: frame.time_us,
      kind: 'account',
      account: { active: false, did, seq: 3, status: 'takendown', time: '2026-11-21T00:28:50.000Z' },
    },
    { kind: 'account', active: false, status: 'takendown', saidAt: Date.UTC(2026, 10, 21, 0, 28, 50) },
  ],
  [
    'about an account that says little',
    { did, time_us: frame.time_us, kind: 'account', account: { active: true, status: 5, time: 'yesterday' } },
    { kind: 'account', active: true },
  ],
  ['of a kind that is not known yet', { did, time_us: frame.time_us, kind: 'sync', sync: {} }, { kind: 'other' }],
])('a frame %s is read', (_about, sent, event) => {
  expect(parse(sent)).toEqual({ did, time, ...event });
});

test('a notice without an account is nothing for us', () => {
  expect(parse({ time_us: frame.time_us, kind: 'info' })).toEqual({ did: '', time, kind: 'other' });
});

const wrong: [about: string, frame: unknown, problem: RegExp][] = [
  ['', '', /not JSON/],
  ['half a frame', captured[0]?.slice(0, 100), /not JSON/],
  ['a list', [frame], /not a JSON object/],
  ['null', null, /not a JSON object/],
  ['no time', { ...frame, time_us: undefined }, /time_us/],
  ['time 0', { ...frame, time_us: 0 }, /time_us/],
  ['a time before time', { ...frame, time_us: -5 }, /time_us/],
  ['half a microsecond', { ...frame, time_us: 1.5 }, /time_us/],
  ['a time that no clock shows', { ...frame, time_us: 9_007_199_254_740_991 * 4 }, /time_us/],
  ['a time that does not fit', { ...frame, time_us: '9223372036854775807' }, /time_us/],
  ['a list as time', { ...frame, time_us: [1] }, /time_us/],
  ['no kind', { did, time_us: frame.time_us }, /kind/],
  ['no account', { ...frame, did: undefined }, /did/],
  ['a wrong account', { ...frame, did: 'alice.example' }, /did/],
  ['no commit', { ...frame, commit: undefined }, /commit/],
  ['a commit that is a list', { ...frame, commit: [] }, /commit/],
  ['a rev that is no TID', { ...frame, commit: { ...commit, rev: 'zzzzzzzzzzzzz' } }, /rev.*sh\.tangled\.repo/],
  ['an unheard-of operation', { ...frame, commit: { ...commit, operation: 'upsert' } }, /operation.*3n2rsrepo2222/],
  ['a collection that is none', { ...frame, commit: { ...commit, collection: 'repo' } }, /collection/],
  ['a key with a slash', { ...frame, commit: { ...commit, rkey: 'a/b' } }, /rkey/],
  ['no account body', { ...frame, kind: 'account' }, /account/],
  ['an account that does not say', { ...frame, kind: 'account', account: { active: 'yes' } }, /active/],
];
test.each(wrong)('a frame with %s is a problem in words', (_about, sent, problem) => {
  const event = parse(sent);
  if (!('problem' in event)) throw new Error(`taken as ${JSON.stringify(event.kind)}`);
  expect(event.problem).toMatch(problem);
});

test('of a bad frame what it is of and where the stream has come is known, if it says so', () => {
  expect(parse({ ...frame, commit: null })).toEqual({ did, time, problem: expect.any(String) as string });
});

test('huge and deeply nested frames cost next to nothing', () => {
  expect(parse('x'.repeat(maxFrameBytes + 1))).toMatchObject({ problem: expect.stringContaining('bytes') as string });
  expect(parse('['.repeat(maxFrameBytes))).toMatchObject({ problem: expect.stringContaining('not JSON') as string });
  const nested = `${'['.repeat(400_000)}${']'.repeat(400_000)}`;
  for (const field of ['time_us', 'did', 'kind', 'commit', 'account', 'identity']) {
    const text = JSON.stringify({ ...frame, [field]: '#' }).replace('"#"', nested);
    expect(parse(text)).toBeDefined();
  }
  const deep = JSON.stringify({ ...frame, commit: { ...commit, record: '#' } }).replace('"#"', nested);
  expect(parse(deep)).toMatchObject({ kind: 'commit', rkey: commit.rkey });
});

test('any bytes are an event or a problem, and never an exception', () => {
  const part = fc.oneof(fc.jsonValue(), fc.constantFrom(...Object.values(commit), did, 'account', 'commit', true));
  const shaped = fc.record({
    did: fc.oneof(part, fc.constant(did)),
    time_us: fc.oneof(part, fc.constant(frame.time_us)),
    kind: fc.oneof(part, fc.constantFrom('commit', 'account', 'identity')),
    commit: fc.oneof(part, fc.record({ rev: part, operation: part, collection: part, rkey: part, record: part })),
    account: fc.oneof(part, fc.record({ active: part, status: part, time: part })),
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), shaped), (sent) => {
      const bytes = sent instanceof Uint8Array ? Buffer.from(sent) : Buffer.from(JSON.stringify(sent));
      const event = parseJetstream(bytes);
      if ('problem' in event) expect(event.problem).not.toBe('');
      else expect(event.time).toBeGreaterThan(0n);
    }),
    { numRuns: 2_000 },
  );
});
