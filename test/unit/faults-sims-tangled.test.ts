import { expect, onTestFinished, test } from 'vitest';
import WebSocket from 'ws';
import type { TangledControl } from '../../faults/contract.ts';
import { eventTime, type Frame, parseFrame } from '../../src/forges/tangled/frame.ts';
import { simulator } from '../support/faults-sims.ts';
import { until } from '../support/until.ts';

const spindle = 'spindle.example';
const knotHosts = ['127.0.0.1:40001', '127.0.0.1:40002'];
const files = [{ name: 'ci.yml', raw: 'tack:\n  fake: {}\n' }];
const repos = [
  { name: 'one', served: true },
  { name: 'two', served: true },
  { name: 'three', served: false },
  { name: 'four', served: false },
  { name: 'five', served: true },
];

async function tangled() {
  const ask = simulator<TangledControl>('tangled');
  const started = await ask.start({ spindle, knotHosts, repos });
  const push = (repo: number, branch = 'main') => ask.push({ repo, branch, files });
  return { ask, push, ...started };
}

/** Reads a knot as Whorl would: after the end of a link from the latest time on that it has seen. */
function follow(port: number, cursor = 1n) {
  const frames: Frame[] = [];
  let [dials, latest, ended] = [0, cursor, false];
  let socket: WebSocket | undefined;
  const dial = (): void => {
    dials++;
    socket = new WebSocket(`ws://127.0.0.1:${port}/events?cursor=${latest}`);
    socket.on('message', (data: Buffer) => {
      const frame = parseFrame(data.toString());
      if ('problem' in frame) throw new Error(frame.problem);
      frames.push(frame);
      const time = frame.created ?? eventTime(frame) ?? 0n;
      if (time > latest) latest = time;
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      if (!ended) dial();
    });
  };
  dial();
  onTestFinished(() => {
    ended = true;
    socket?.terminate();
  });
  return { frames, rkeys: () => frames.map(({ rkey }) => rkey), dials: () => dials };
}

/** Reads all of the jetstream, again after each link. */
function subscribe(port: number) {
  const frames: { did: string; kind: string }[] = [];
  let [opened, ended] = [0, false];
  let socket: WebSocket | undefined;
  const dial = (cursor?: number): void => {
    socket = new WebSocket(
      `ws://127.0.0.1:${port}/subscribe${cursor === undefined ? '?cursor=1000000000000000' : `?cursor=${cursor}`}`,
    );
    let latest = cursor;
    socket.on('message', (data: Buffer) => {
      const frame = JSON.parse(data.toString()) as { did: string; kind: string; time_us: number };
      latest = frame.time_us + 1;
      frames.push(frame);
    });
    socket.on('open', () => {
      opened++;
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      if (!ended) dial(latest);
    });
  };
  dial();
  onTestFinished(() => {
    ended = true;
    socket?.terminate();
  });
  return { frames, opened: () => opened };
}

type Listed = { records: { value: { name: string; knot: string; spindle: string; subject: string } }[] };
const listed = async (pds: number, did: string, collection: string): Promise<Listed['records']> => {
  const query = new URLSearchParams({ repo: did, collection });
  const response = await fetch(`http://127.0.0.1:${pds}/xrpc/com.atproto.repo.listRecords?${query.toString()}`);
  return ((await response.json()) as Listed).records;
};

test('repositories live on the knots in turn, and their records say who is served', async () => {
  const { pds, owner, repos: made } = await tangled();
  expect(made.map(({ name, knot, served }) => ({ name, knot, served }))).toEqual(
    repos.map((repo, n) => ({ ...repo, knot: knotHosts[n % 2] })),
  );
  const members = (await listed(pds, owner, 'sh.tangled.spindle.member')).map(({ value }) => value.subject);
  expect(members).toHaveLength(3);
  for (const { did, name, knot, served } of made) {
    const record = (await listed(pds, did, 'sh.tangled.repo')).find(({ value }) => value.name === name)?.value;
    expect(record?.knot).toBe(knot);
    const trusted = [owner, ...members].includes(did);
    expect(trusted && record?.spindle === spindle, name).toBe(served);
  }
  const [, , stranger, member] = made;
  expect(members).not.toContain(stranger?.did);
  expect(members).toContain(member?.did);
});

test('the directory names the address that it is told', async () => {
  const { ask, plc, repos: made } = await tangled();
  await ask.pdsAt('http://127.0.0.1:4999');
  const document = await fetch(`http://127.0.0.1:${plc}/${made[0]?.did}`).then((response) => response.json());
  expect(document).toMatchObject({ service: [{ serviceEndpoint: 'http://127.0.0.1:4999' }] });
});

test('a push is a frame of its repository’s knot, under the name by which the knot goes', async () => {
  const { ask, push, knots, repos: made } = await tangled();
  const readers = knots.map((port) => follow(port));
  const first = await push(0, 'topic');
  const second = await push(1);
  expect([first.knot, second.knot]).toEqual(knotHosts);
  await until('both are read', () => readers.every(({ rkeys }, n) => rkeys().includes([first, second][n]?.rkey ?? '')));
  const frame = readers[0]?.frames.find(({ rkey }) => rkey === first.rkey);
  expect(frame?.event).toMatchObject({
    triggerMetadata: {
      push: { newSha: first.commit, ref: 'refs/heads/topic' },
      repo: { did: made[0]?.did, knot: first.knot, repo: 'one' },
    },
    workflows: [files[0]],
  });
  // Of two generations.
  expect(readers.map(({ frames }) => frames[0]?.created !== undefined)).toEqual([false, true]);
  expect(await ask.pushed()).toEqual([first, second].map(({ knot, rkey }) => ({ knot, rkey })));
});

test('a knot that breaks the link after each frame is read all the same, frame by frame', async () => {
  const { ask, push, knots } = await tangled();
  await ask.knotFault(0, 'drop-each');
  const rkeys: string[] = [];
  for (let n = 0; n < 3; n++) rkeys.push((await push(0)).rkey);
  const reader = follow(knots[0] ?? 0);
  await until('all are read', () => rkeys.every((rkey) => reader.rkeys().includes(rkey)));
  // Three pushes are six frames, each the last of its link.
  expect(reader.dials()).toBeGreaterThanOrEqual(6);
  await ask.knotFault(0, 'off');
  const before = reader.dials();
  const last = await push(0);
  await until('the next is read', () => reader.rkeys().includes(last.rkey));
  expect(reader.dials()).toBeLessThanOrEqual(before + 1);
});

test('a knot replays, ignores cursors, and sends out of order, until it is off', async () => {
  const { ask, push, knots } = await tangled();
  const reader = follow(knots[0] ?? 0);
  const first = await push(0);
  const seen = (rkey: string): number => reader.rkeys().filter((one) => one === rkey).length;
  await until('it is read', () => seen(first.rkey) === 1);
  await ask.knotFault(0, 'replay');
  await until('it is read again', () => seen(first.rkey) === 2);
  await ask.knotFault(0, 'ignore-cursor');
  await until('it is read again, for nobody asked for it', () => seen(first.rkey) === 3);
  await ask.knotFault(0, 'off');
  await ask.knotFault(0, 'out-of-order');
  const second = await push(0);
  await until('it is read', () => seen(second.rkey) > 0);
  const kinds = (): string[] => reader.frames.slice(-2).map(({ nsid }) => nsid);
  await until('its ref too, behind it', () => kinds().join() === 'sh.tangled.pipeline,sh.tangled.git.refUpdate');
});

test('the jetstream replays, breaks off, and ignores cursors', async () => {
  const { ask, jetstream } = await tangled();
  const reader = subscribe(jetstream);
  const all = await until('all is read', () => {
    const commits = reader.frames.filter(({ kind }) => kind === 'commit').length;
    return commits === 3 + repos.length && reader.frames.length;
  });
  await ask.jetstreamFault('replay');
  await until('all is read twice', () => reader.frames.length === 2 * all);
  await ask.jetstreamFault('drop');
  await until('it dials again', () => reader.opened() === 2);
  await ask.jetstreamFault('ignore-cursor');
  await until('all is read a third time', () => reader.frames.length === 3 * all && reader.opened() === 3);
  await ask.jetstreamFault('off');
  await ask.jetstreamFault('drop');
  await until('it dials again', () => reader.opened() === 4);
});
