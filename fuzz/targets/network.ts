import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { parseJetstream } from '../../src/forges/tangled/jetstream.ts';
import { isHost, isRecordKey } from '../../src/forges/tangled/names.ts';
import { parseRecord, recordCollections } from '../../src/forges/tangled/record.ts';
import { aboutWork, workOf } from '../../src/ingest/jetstream-apply.ts';
import { advance, missingMs, placeOf, subscribeUrl } from '../../src/ingest/jetstream-place.ts';
import { changedBytes } from '../inputs/bytes.ts';
import { jetstreamEvents } from '../inputs/captures.ts';
import { changedJson } from '../inputs/json.ts';
import { seedOf } from '../random.ts';
import { expect, type Target } from '../target.ts';

const owner = 'did:plc:hgnnks5sjbyfk5sxbc2v77gh';
const now = Date.UTC(2026, 10, 21);
const reached = BigInt(now - 60_000) * 1_000_000n;

/** Those of accounts came later than the capture. */
export const jetstreamFrames: readonly string[] = [
  ...jetstreamEvents,
  JSON.stringify({
    did: owner,
    time_us: 1_795_220_930_422_551,
    kind: 'account',
    account: { active: false, did: owner, seq: 9, status: 'deactivated', time: '2026-11-21T00:28:49.722Z' },
  }),
  JSON.stringify({
    did: owner,
    time_us: '1795220930422552',
    kind: 'identity',
    identity: { did: owner, handle: 'alice.test', seq: 10, time: '2026-11-21T00:28:49.722Z' },
  }),
];

export const jetstreamFramesTarget: Target = {
  name: 'jetstream-frames',
  about: 'frames of a jetstream, and what they ask for',
  weight: 12,
  inputs: fc.oneof(
    { weight: 3, arbitrary: changedJson(jetstreamFrames) },
    {
      weight: 1,
      arbitrary: changedBytes(
        jetstreamFrames.map((each) => Buffer.from(each)),
        {
          words: [
            '"time_us":',
            '"commit":',
            '"did":"did:web:x"',
            '9223372036854775',
            '{"',
            '[',
            '\\ud83e',
            '"record":',
          ],
          most: 1_200_000,
        },
      ),
    },
  ),
  run(input) {
    const event = parseJetstream(input);
    if (event.time !== undefined) {
      const to = advance(reached, event.time, now);
      expect(to >= reached && to <= BigInt(now) * 1_000_000n, () => `the cursor goes to ${to}`);
      expect(Number.isFinite(missingMs(reached, event.time, now)), () => 'what is missing is no number');
      const place = placeOf(event.time, now);
      if ('at' in place) new URL(subscribeUrl('wss://jetstream.example/subscribe', place.at));
    }
    if ('problem' in event) return expect(event.problem.length < 2_000, () => 'a problem that fills the log');
    let problems = 0;
    const work = workOf(event, owner, (problem) => {
      problems += 1;
      expect(problem.length < 2_000, () => `a problem of ${problem.length} characters`);
    });
    expect(problems < 2, () => 'one record has two problems');
    if (!work) return;
    JSON.stringify(aboutWork(work));
    // as the statements that store it do
    if (work.kind === 'change') work.change.at.toISOString();
    if (work.kind === 'account') work.at.toISOString();
  },
};

const records = jetstreamEvents.flatMap((line) => {
  const { commit } = JSON.parse(line) as { commit: { record?: unknown } };
  return commit.record === undefined ? [] : [JSON.stringify(commit.record)];
});

export const recordsTarget: Target = {
  name: 'records',
  about: 'records of members, repositories and collaborators',
  weight: 14,
  inputs: changedJson(records),
  run(input) {
    let record: unknown;
    try {
      record = JSON.parse(input.toString('utf8'));
    } catch {
      return;
    }
    for (const collection of recordCollections) judgeRecord(collection, record, input.length);
  },
};

const keys = ['3n2rsmember22', '', '.', '..', 'a/b', 'self', '~', 'x'.repeat(512), 'x'.repeat(513), 'a%20b'];

function judgeRecord(collection: string, record: unknown, size: number): void {
  const rkey = keys[seedOf(collection, size) % keys.length] ?? '';
  const parsed = parseRecord(collection, rkey, record);
  if ('problem' in parsed) return expect(parsed.problem.length < 700, () => `a problem of ${parsed.problem.length}`);
  const { value } = parsed;
  expect(isRecordKey(rkey), () => `a record under the key ${rkey}`);
  for (const text of Object.values(value)) {
    expect(text === null || (text.isWellFormed() && !text.includes('\0')), () => `PostgreSQL refuses ${text}`);
    expect(text === null || text.length <= 1_200, () => `a text of ${text?.length}`);
  }
  const again = parseRecord(collection, rkey, JSON.parse(JSON.stringify(value)));
  expect(
    'value' in again && isDeepStrictEqual(again.value, value),
    () => `${JSON.stringify(value)} is read differently`,
  );
  if ('knot' in value) judgeHost(value.knot);
}

/** What passes for a host leads to that host and nowhere else. */
export function judgeHost(host: string): void {
  if (!isHost(host)) return;
  const url = new URL(`wss://${host}/events?cursor=1`);
  const right = url.pathname === '/events' && url.search === '?cursor=1' && url.username === '' && url.hash === '';
  expect(right && url.hostname !== '', () => `${host} leads to ${url.href}`);
}
