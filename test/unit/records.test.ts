import fc from 'fast-check';
import { expect, test } from 'vitest';
import { NSID } from '../../src/forges/tangled/nsid.ts';
import { parseRecord, type RecordValue, recordCollections } from '../../src/forges/tangled/record.ts';

const alice = 'did:plc:u2dbtw275tbhyjymoob3d2wz';
const rkey = '3n2rsmember22';
const member = { subject: alice, instance: 'spindle.example', createdAt: '2026-11-21T00:28:49.722Z' };
const repo = { knot: 'knot.example', name: 'site', spindle: 'spindle.example' };
const collaborator = { subject: alice, repo: `at://${alice}/sh.tangled.repo/3n2rsrepo2222` };

type Case = [about: string, collection: string, record: unknown, value: RecordValue];
const good: Case[] = [
  ['a member', NSID.member, member, { subject: alice, instance: 'spindle.example' }],
  ['any $type', NSID.member, { ...member, $type: 12 }, { subject: alice, instance: 'spindle.example' }],
  [
    'an instance with a port, capitals and spaces',
    NSID.member,
    { ...member, instance: ' Spindle.Example:6555\n' },
    { subject: alice, instance: 'spindle.example:6555' },
  ],
  [
    'a did:web',
    NSID.member,
    { ...member, subject: 'did:web:127.0.0.1%3A8080' },
    { subject: 'did:web:127.0.0.1%3A8080', instance: 'spindle.example' },
  ],
  ['a repo', NSID.repo, repo, { knot: 'knot.example', name: 'site', spindle: 'spindle.example' }],
  [
    'a repo whose knot is written large',
    NSID.repo,
    { ...repo, knot: 'KNOT.example:5555', spindle: 'SPINDLE.example' },
    { knot: 'knot.example:5555', name: 'site', spindle: 'spindle.example' },
  ],
  [
    'a knot by its IPv6',
    NSID.repo,
    { ...repo, knot: '[::1]:5555' },
    { knot: '[::1]:5555', name: 'site', spindle: 'spindle.example' },
  ],
  ...[undefined, null, ''].map((name): Case => [
    `a repo whose name is ${JSON.stringify(name)}`,
    NSID.repo,
    { ...repo, name },
    { knot: 'knot.example', name: rkey, spindle: 'spindle.example' },
  ]),
  ...[undefined, null, '', 12, {}, 'a\0b', '\ud800', 'x'.repeat(513)].map((spindle): Case => [
    `a repo whose spindle is ${JSON.stringify(spindle)?.slice(0, 20)}`,
    NSID.repo,
    { ...repo, spindle },
    { knot: 'knot.example', name: 'site', spindle: null },
  ]),
  [
    'a spindle that is a DID',
    NSID.repo,
    { ...repo, spindle: 'did:web:spindle.example' },
    { knot: 'knot.example', name: 'site', spindle: 'did:web:spindle.example' },
  ],
  [
    'a repo with a DID of its own',
    NSID.repo,
    { ...repo, repoDid: 'did:plc:gcytag7l3v6srtczviphcqqr' },
    { knot: 'knot.example', name: 'site', spindle: 'spindle.example', repoDid: 'did:plc:gcytag7l3v6srtczviphcqqr' },
  ],
  ...['', null, 5, 'alice.example', 'did:key:z6Mk'].map((repoDid): Case => [
    `a repo whose own DID is ${JSON.stringify(repoDid)}`,
    NSID.repo,
    { ...repo, repoDid },
    { knot: 'knot.example', name: 'site', spindle: 'spindle.example' },
  ]),
  [
    'a name that is not ASCII',
    NSID.repo,
    { ...repo, name: 'ünïcode 🧶' },
    { knot: 'knot.example', name: 'ünïcode 🧶', spindle: 'spindle.example' },
  ],
  ['a collaborator', NSID.collaborator, collaborator, { subject: alice, repo: collaborator.repo }],
  [
    'a collaborator of a repo with a DID',
    NSID.collaborator,
    { ...collaborator, repo: alice },
    { subject: alice, repo: alice },
  ],
];

test.each(good)('%s is read as what it says', (_about, collection, record, value) => {
  expect(parseRecord(collection, rkey, record)).toEqual({ value });
});

const hosts = ['', ' ', 'a b', 'https://a.example', 'a.example/', 'a.example:0', 'a.example:99999', 'user@a.example'];
const noHosts = [...hosts, 'a\0.example', 'x'.repeat(300), null, undefined, 12, ['a.example'], {}, true];
const noDids = ['', 'alice.example', 'did:', 'did:plc:', 'did:key:z6Mk', 'did:plc:a b', `did:plc:${'a'.repeat(600)}`];
const notDids = [...noDids, 'did:plc:a\0', 'did:plc:a/b', 'DID:PLC:a', null, undefined, 12, [], {}];
const noNames = [12, true, {}, [], 'a\0b', 'a\nb', '\ud800', 'x'.repeat(257)];
const noRepos = ['', 'site', `at://${alice}/sh.tangled.repo/`, `at://${alice}/sh.tangled.repo/..`, `at://${alice}`];
const notRepos = [...noRepos, `at://alice.example/sh.tangled.repo/a`, `at://${alice}/sh.tangled.repo/a/b`, 12, null];

const bad: [collection: string, record: unknown, problem: RegExp][] = [
  ...[null, undefined, 'text', 12, true, [], [member]].flatMap((record) =>
    recordCollections.map((collection): [string, unknown, RegExp] => [collection, record, /not a JSON object/]),
  ),
  ...noHosts.map((host): [string, unknown, RegExp] => [NSID.member, { ...member, instance: host }, /instance/]),
  ...noHosts.map((host): [string, unknown, RegExp] => [NSID.repo, { ...repo, knot: host }, /knot/]),
  ...notDids.map((did): [string, unknown, RegExp] => [NSID.member, { ...member, subject: did }, /subject/]),
  ...notDids.map((did): [string, unknown, RegExp] => [NSID.collaborator, { ...collaborator, subject: did }, /subject/]),
  ...noNames.map((name): [string, unknown, RegExp] => [NSID.repo, { ...repo, name }, /name/]),
  ...notRepos.map((of): [string, unknown, RegExp] => [NSID.collaborator, { ...collaborator, repo: of }, /repo/]),
  ['sh.tangled.feed.star', {}, /nobody here reads/],
  ['__proto__', {}, /nobody here reads/],
];

test.each(bad)('%s %j is refused, and the reason says which field', (collection, record, problem) => {
  const parsed = parseRecord(collection, rkey, record);
  if (!('problem' in parsed)) throw new Error(`taken as ${JSON.stringify(parsed)}`);
  expect(parsed.problem).toMatch(problem);
  expect(parsed.problem.length).toBeLessThan(300);
});

test.each(['', '.', '..', 'a/b', 'a b', 'a\0', 'x'.repeat(513)])('the key %j is none of a record', (key) => {
  expect(parseRecord(NSID.member, key, member)).toEqual({ problem: expect.stringContaining('record key') as string });
});

test('a record of any shape is a value or a problem, and never an exception', () => {
  const fields = fc.record(
    Object.fromEntries(
      ['$type', 'subject', 'instance', 'knot', 'name', 'spindle', 'repoDid', 'repo'].map((field) => [
        field,
        fc.oneof(fc.jsonValue(), fc.constantFrom(alice, 'spindle.example', collaborator.repo), fc.string()),
      ]),
    ),
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.constantFrom(...recordCollections), fc.oneof(fc.jsonValue(), fields), (collection, record) => {
      const parsed = parseRecord(collection, rkey, record);
      if ('problem' in parsed) {
        expect(parsed.problem).not.toBe('');
        return;
      }
      // what is kept goes into a database, which takes neither NUL nor halves of characters
      const text = JSON.stringify(parsed.value);
      expect(text).not.toMatch(/\\u0000|\\ud[89a-f]/);
      expect(text.length).toBeLessThan(3_000);
    }),
    { numRuns: 2_000 },
  );
});
