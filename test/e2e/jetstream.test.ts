import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { placeCursor, readCursor } from '../../src/store/cursors.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { dumpRecords, dumpServed, type JetstreamIngestOptions, startJetstreamIngest } from '../support/jetstream.ts';
import { startNetwork, type TestNetworkOptions } from '../support/network.ts';
import { until } from '../support/until.ts';

const captured = readFileSync(new URL('../fixtures/jetstream-events.ndjson', import.meta.url), 'utf8')
  .trim()
  .split('\n');
const owner = 'did:plc:hgnnks5sjbyfk5sxbc2v77gh';
const alice = 'did:plc:u2dbtw275tbhyjymoob3d2wz';
const mallory = 'did:plc:gcytag7l3v6srtczviphcqqr';
const host = '127.0.0.1:6555';

/** What the captured frames say, word for word as they are kept: nothing of what mallory says of members. */
const expected = [
  `${mallory} sh.tangled.repo 3n2rsrepo2224 {"knot": "127.0.0.1:5555", "name": "whorl-demo", "spindle": "127.0.0.1:6555"} 3n2rtsx3yxk22`,
  `${owner} sh.tangled.spindle.member 3n2rsmember22 {"subject": "${alice}", "instance": "127.0.0.1:6555"} 3n2rtswyzb222`,
  `${owner} sh.tangled.spindle.member 3n2rsmember23 gone 3n2rtsx6jzc22`,
  `${alice} sh.tangled.repo 3n2rsrepo2222 {"knot": "127.0.0.1:5555", "name": "whorl-demo", "spindle": "127.0.0.1:6555"} 3n2rtsx2das22`,
  `${alice} sh.tangled.repo 3n2rsrepo2223 gone 3n2rtsx63ek22`,
  `${alice} sh.tangled.repo 3n2rsrepo2225 gone 3n2rtsx5iss22`,
  `${alice} sh.tangled.repo.collaborator 3n2rscollab22 {"repo": "at://${alice}/sh.tangled.repo/3n2rsrepo2222", "subject": "${mallory}"} 3n2rtsx3hf222`,
];

let db: FreshDatabase;
const cleanup: (() => unknown)[] = [];
beforeEach(async () => void (db = await freshDatabase({ max: 10 })));
afterEach(async () => {
  for (const step of cleanup.splice(0).toReversed()) await step();
  await db.drop();
});

async function world(options: TestNetworkOptions = {}) {
  const net = await startNetwork(options);
  const ingest = async (more: Partial<JetstreamIngestOptions> = {}) => {
    const urls = net.jetstreams.map(({ url }) => url);
    const started = await startJetstreamIngest(db.sql, { urls, owner: net.owner.did, host, ...more });
    cleanup.push(() => started.stop());
    return started;
  };
  return { ...net, ingest };
}
type Ingest = Awaited<ReturnType<typeof startJetstreamIngest>>;

const frames = (ingest: Ingest, count: number) =>
  until(`${count} frames`, () => (ingest.jetstream.stats()?.frames ?? 0) >= count);
const cursor = async (): Promise<bigint | undefined> => (await readCursor(db.sql, 'jetstream'))?.position;
const nanos = (ms: number): bigint => BigInt(ms) * 1_000_000n;

test('the captured frames give exactly the tables that they should, also doubled and from the start again', async () => {
  const { jetstream, ingest } = await world();
  const running = await ingest({ owner });
  await jetstream.connected();
  for (const line of captured) jetstream.store(() => line);
  await until('the tables', async () => (await dumpRecords(db.sql)).length === expected.length);
  expect(await dumpRecords(db.sql)).toEqual(expected);
  expect(await dumpServed(db.sql)).toEqual([`${alice}/whorl-demo on 127.0.0.1:5555`]);

  for (const times of [2, 3, 4]) {
    jetstream.replayAll();
    await frames(running, times * captured.length);
  }
  jetstream.faults.double = true;
  jetstream.dropAll();
  await jetstream.connected(2);
  jetstream.replayAll();
  await frames(running, 6 * captured.length);
  await running.stop();
  expect(await dumpRecords(db.sql)).toEqual(expected);
  // the broken record of alice's
  expect(running.jetstream.stats()).toBeUndefined();
  const [refusal] = await db.sql`select source, reason from refused_frames`;
  expect(refusal).toEqual({ source: 'jetstream', reason: 'the record cannot be used: its knot null is not a host' });
});
