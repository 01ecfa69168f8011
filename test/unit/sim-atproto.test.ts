import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cidOf } from '../../sim/atproto/cid.ts';
import * as sim from '../../sim/atproto/index.ts';
import { tidTime } from '../../src/forges/tangled/tid.ts';

const captured = readFileSync(new URL('../fixtures/jetstream-events.ndjson', import.meta.url), 'utf8')
  .trim()
  .split('\n');
const REPO = 'sh.tangled.repo';

describe('the network', () => {
  test('gives captured records the CIDs that a real PDS gave them', () => {
    const records = captured.map((line) => JSON.parse(line).commit).filter((commit) => commit.record);
    expect(records).toHaveLength(9);
    expect(records.map(({ record }) => cidOf(record))).toEqual(records.map(({ cid }) => cid));
    expect(cidOf({})).toBe('bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua');
  });

  test('gives every commit a rev that is later than the one before, also when its clock is set back', () => {
    const clock = sim.manualClock();
    const network = sim.createNetwork({ now: clock.now });
    const { did } = network.account();
    const revs: string[] = [];
    for (let n = 0; n < 20; n++) {
      revs.push(network.repo(did, { knot: 'k', name: `r${n}` }).rev);
      clock.advance(n % 2 ? -5_000 : 1_000);
    }
    expect(revs).toEqual([...new Set(revs)].toSorted());
    expect(tidTime(revs[0] ?? '')).toBeGreaterThanOrEqual(BigInt(Date.parse('2026-11-20T12:00:00Z')) * 1_000_000n);
    expect(tidTime(revs[0] ?? '')).toBeLessThan(BigInt(Date.parse('2026-11-20T12:00:01Z')) * 1_000_000n);
  });

  test('comes out the same each time with the same clock', () => {
    const tell = () => {
      const network = sim.createNetwork({ now: sim.manualClock().now });
      const owner = network.account();
      const member = network.account();
      network.invite(owner.did, member.did, 'spindle.example');
      network.delete(
        member.did,
        REPO,
        network.repo(member.did, { knot: 'k', name: 'r', spindle: 'spindle.example' }).rkey,
      );
      return network.events;
    };
    expect(tell()).toEqual(tell());
    expect(tell()).toHaveLength(7);
  });

  test('knows what is there: nothing is created twice, changed or deleted without being there, or written by the dead', () => {
    const network = sim.createNetwork();
    const { did } = network.account();
    const { rkey, rev } = network.repo(did, { knot: 'k', name: 'r' });
    expect(() => network.create(did, REPO, {}, rkey)).toThrow(`cannot create at://${did}/${REPO}/${rkey}: it is there`);
    expect(() => network.update(did, REPO, 'none', {})).toThrow('it is not there');
    expect(() => network.delete(did, REPO, 'none')).toThrow('it is not there');
    expect(() => network.put(did, REPO, rkey, {}, { rev })).toThrow('is not later than its latest');
    expect(() => network.repo('did:plc:nobody', { knot: 'k', name: 'r' })).toThrow('the network has no account');
    network.deactivate(did);
    expect(() => network.delete(did, REPO, rkey)).toThrow('is deactivated, and cannot write');
    network.reactivate(did);
    network.delete(did, REPO, rkey);
    network.deleteAccount(did);
    expect(network.repoOf(did).collections()).toEqual([]);
  });

  test('commits an equal put as little as a real PDS does, and several writes under one rev', () => {
    const network = sim.createNetwork();
    const { did } = network.account();
    const first = network.put(did, REPO, 'one', { name: 'a' });
    const before = network.events.length;
    expect(network.put(did, REPO, 'one', { name: 'a' }).rev).toBe(first.rev);
    expect(network.events).toHaveLength(before);
    const rev = network.write(did, [
      { operation: 'create', collection: REPO, rkey: 'two', record: {} },
      { operation: 'delete', collection: REPO, rkey: 'one' },
    ]);
    expect(rev > first.rev).toBe(true);
    const [created, deleted] = network.events.slice(before);
    expect(created).toMatchObject({ kind: 'commit', commit: { rev, operation: 'create', rkey: 'two' } });
    expect(deleted).toMatchObject({ kind: 'commit', commit: { rev, operation: 'delete', rkey: 'one' } });
  });

  test('takes captured frames with their revs', () => {
    const network = sim.createNetwork();
    expect(network.replay(captured)).toBe(11);
    const [owner, alice] = network.accounts();
    expect(owner?.rev).toBe('3n2rtsx6jzc22');
    expect(network.repoOf(alice?.did ?? '').collections()).toEqual([REPO, 'sh.tangled.repo.collaborator']);
    expect(
      network
        .repoOf(alice?.did ?? '')
        .page(REPO, { limit: 9 })
        .map(({ rkey }) => rkey),
    ).toEqual(['3n2rsrepo2225', '3n2rsrepo2222']);
  });
});

describe('a repo', () => {
  test('shows every earlier state as it was', () => {
    const change = fc.record({ rkey: fc.constantFrom('a', 'b', 'c', 'd'), value: fc.option(fc.nat(3)) });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
        const network = sim.createNetwork();
        const { did } = network.account();
        const truth: { rev: string; page: unknown; commits: number }[] = [];
        for (const { rkey, value } of changes) {
          if (value !== null) network.put(did, REPO, rkey, { value });
          else if (network.repoOf(did).get(REPO, rkey)) network.delete(did, REPO, rkey);
          const rev = network.find(did)?.rev ?? '';
          const repo = network.repoOf(did);
          truth.push({ rev, page: repo.page(REPO, { limit: 100 }), commits: repo.commits.length });
        }
        for (const { rev, page, commits } of truth) {
          expect(network.repoOf(did).asOf(rev).page(REPO, { limit: 100 })).toEqual(page);
          expect(network.repoOf(did).revAt(rev)).toBe(commits === 0 ? undefined : rev);
        }
      }),
      { numRuns: 100 },
    );
  });

  test('listed while it is written shows once, in order, all that was there from the first page to the last', () => {
    const written = fc.array(fc.tuple(fc.integer({ min: 0, max: 60 }), fc.boolean()), { maxLength: 8 });
    fc.assert(
      fc.property(
        fc.array(written, { minLength: 30, maxLength: 30 }),
        fc.integer({ min: 1, max: 9 }),
        fc.boolean(),
        (writes, limit, reverse) => {
          const network = sim.createNetwork();
          const { did } = network.account();
          const rkey = (n: number): string => `r${String(n).padStart(2, '0')}`;
          for (let n = 0; n < 60; n += 2) network.put(did, REPO, rkey(n), {});
          const repo = network.repoOf(did);
          const throughout = new Set(repo.page(REPO, { limit: 100 }).map((entry) => entry.rkey));
          const seen: string[] = [];
          for (let cursor: string | undefined, page = 0; ; page++) {
            const entries = repo.page(REPO, { limit, reverse, cursor });
            if (entries.length === 0) break;
            seen.push(...entries.map((entry) => entry.rkey));
            cursor = seen.at(-1);
            for (const [n, remove] of writes[page] ?? []) {
              if (!remove) network.put(did, REPO, rkey(n), {});
              else if (repo.get(REPO, rkey(n))) {
                network.delete(did, REPO, rkey(n));
                throughout.delete(rkey(n));
              }
            }
          }
          const sorted = [...new Set(seen)].toSorted();
          expect(seen).toEqual(reverse ? sorted : sorted.toReversed());
          expect(seen).toEqual(expect.arrayContaining([...throughout]));
        },
      ),
      { numRuns: 200 },
    );
  });

  test('of 100,000 records pages to its end', () => {
    const network = sim.createNetwork();
    const { did } = network.account();
    network.fill(did, REPO, 100_000, (n) => ({ $type: REPO, name: `r${n}`, knot: 'k' }));
    let count = 0;
    for (let cursor: string | undefined; ;) {
      const entries = network.repoOf(did).page(REPO, { limit: 100, cursor });
      if (entries.length === 0) break;
      count += entries.length;
      cursor = entries.at(-1)?.rkey;
    }
    expect(count).toBe(100_000);
  });
});
