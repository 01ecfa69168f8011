import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { jetstreamFrames } from '../targets/network.ts';
import { knotFrames } from '../targets/knot-frames.ts';
import { yamlFiles, yamlWords } from '../targets/workflow-samples.ts';
import { changedBytes } from '../inputs/bytes.ts';
import { changedJson } from '../inputs/json.ts';
import { noise } from '../random.ts';
import { expect } from '../target.ts';
import { host, type LiveSpindle, repo } from './spindle.ts';
import type { LiveTarget } from './target.ts';
import { acceptMark } from './wire.ts';
import { frame } from './ws-frame.ts';

/** How long a good frame may take from the wire to its row, ms: there may be a pause before a connection is made anew. */
const arrivalMs = 20_000;

async function arrives(spindle: LiveSpindle, what: string, look: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + arrivalMs; !(await look());) {
    expect(spindle.death() === undefined, () => 'the spindle has ended');
    expect(Date.now() < end, () => `${what} does not arrive within ${arrivalMs / 1000} s`);
    await delay(10);
  }
}

/** Gives them the addresses that they have here, so that they are looked at as our own. */
const here = (text: string, spindle: LiveSpindle): string =>
  text.replaceAll('127.0.0.1:5555', spindle.knot.host).replaceAll('127.0.0.1:6555', host);

/** Longer than what an index of the database takes. */
const incompressible = noise(7, 2_400).toString('base64');

/** Frames with workflow files that are changed too: what dispatch makes of them, it writes to the database. */
const planned = fc
  .tuple(
    changedBytes(
      yamlFiles.map((each) => Buffer.from(each)),
      { words: yamlWords, most: 2_048 },
    ),
    fc.nat(),
    fc.constantFrom('ci.yml', '', 'ü', incompressible, '../x', '__proto__', 'a\u0001b'),
  )
  .map(([raw, n, name]) => {
    const event = {
      triggerMetadata: {
        kind: 'push',
        push: { newSha: 'c'.repeat(40), oldSha: '', ref: `refs/heads/${name}` },
        repo: { did: repo.did, knot: '127.0.0.1:5555', repo: repo.name },
      },
      workflows: [{ name, raw: raw.toString('utf8').toWellFormed() }],
    };
    return Buffer.from(JSON.stringify({ nsid: 'sh.tangled.pipeline', rkey: `fuzz-${n}`, event }));
  });

export const knotStreamTarget: LiveTarget = {
  name: 'knot-stream',
  about: 'frames of a knot to a running ingest, and on to dispatch',
  weight: 4,
  inputs: fc.oneof(
    { weight: 3, arbitrary: changedJson(knotFrames) },
    { weight: 2, arbitrary: planned },
    {
      weight: 1,
      arbitrary: changedBytes(
        knotFrames.map((each) => Buffer.from(each)),
        { words: ['{"', '[', '\\u0000', '\\ud83e'], most: 200_000 },
      ),
    },
  ),
  async run(spindle, input) {
    spindle.knot.raw(here(input.toString('utf8'), spindle));
    // a turn of ours for each, so that what is sent goes out
    await delay(0);
  },
  async check(spindle) {
    const { rkey } = spindle.knot.push({ repo, workflows: [{ name: 'ci.yml', raw: 'tack: {fake: {}}\n' }] });
    await arrives(spindle, 'a push', async () => {
      const rows = await spindle.sql`select from jobs where pipeline = ${`pipeline/${spindle.knot.host}/${rkey}`}`;
      return rows.length > 0;
    });
    await judgeDispatch(spindle);
  },
};

/** Of all that dispatch does with a trigger, nothing fails but the call of Temporal, which is not there. */
async function judgeDispatch({ sql }: LiveSpindle): Promise<void> {
  const failed = await sql<{ reason: string; body: unknown }[]>`
    select reason, body from triggers where state = 'new' and tries > 0
      and reason not like 'Failed to start Workflow: % DEADLINE_EXCEEDED%'`;
  await sql`delete from triggers where state = 'new' and tries > 0`;
  const [one] = failed;
  expect(
    one === undefined,
    () => `dispatch cannot carry a trigger: ${one?.reason}\n${JSON.stringify(one?.body).slice(0, 3_000)}`,
  );
}

const upgraded = [
  'HTTP/1.1 101 Switching Protocols',
  'Upgrade: websocket',
  'Connection: Upgrade',
  `Sec-WebSocket-Accept: ${acceptMark}`,
];
const dates = ['Sat, 21 Nov 2026 00:00:00 GMT', '+275760-09-13T00:00:00.000Z', '-271821-04-20T00:00:00.000Z', 'x'];
const served = (opcode: number, text: string, more = {}): Buffer =>
  frame(opcode, Buffer.from(text), { masked: false, ...more });
const said: readonly Buffer[] = [
  ...knotFrames.slice(0, 3).map((text) => served(1, text)),
  Buffer.concat([served(9, 'x'), served(1, knotFrames[1] ?? '', { fin: false }), served(0, 'rest'), served(8, '')]),
  served(1, 'x', { length: 0xffffffff }),
  served(2, '\xff', { rsv: 4 }),
  frame(1, Buffer.from('masked')),
];
const answers = dates.flatMap((date) =>
  said.map((frames) => Buffer.concat([Buffer.from(`${[...upgraded, `Date: ${date}`].join('\r\n')}\r\n\r\n`), frames])),
);
const refusals = [
  '302 Found\r\nLocation: http://127.0.0.1:1/',
  '200 OK',
  '500 No',
  '101 x\r\nUpgrade: h2c',
  '999 x',
].map((line) => Buffer.from(`HTTP/1.1 ${line}\r\nContent-Length: 0\r\n\r\n`));

/** Whatever a server may answer to a dial: broken heads, broken frames, clocks of other ages. */
export const knotWireTarget: LiveTarget = {
  name: 'knot-wire',
  about: 'bytes of a knot that is none to a running ingest: heads and frames',
  weight: 1,
  inputs: changedBytes([...answers, ...answers, ...refusals], {
    words: [
      '\r\n',
      'Date: ',
      acceptMark,
      'Sec-WebSocket-Extensions: permessage-deflate\r\n',
      'Sec-WebSocket-Protocol: x\r\n',
      '\x81',
      '\x88',
      '\x89\xfd',
      '\0',
    ],
    most: 300_000,
  }),
  async run(spindle, input) {
    await spindle.wire.answer(input);
  },
  check: (spindle) => knotStreamTarget.check(spindle),
};

export const jetstreamStreamTarget: LiveTarget = {
  name: 'jetstream-stream',
  about: 'frames of a jetstream to a running ingest',
  weight: 4,
  inputs: fc.oneof(
    { weight: 4, arbitrary: changedJson(jetstreamFrames) },
    {
      weight: 1,
      arbitrary: changedBytes(
        jetstreamFrames.map((each) => Buffer.from(each)),
        { words: ['{"', '[', '\\u0000', '\\ud83e', '"did":'], most: 1_200_000 },
      ),
    },
  ),
  async run(spindle, input) {
    const text = input.toString('utf8').replaceAll('did:plc:hgnnks5sjbyfk5sxbc2v77gh', spindle.owner);
    spindle.jetstream.raw(here(text, spindle), input.length % 5 === 0);
    await delay(0);
  },
  async check(spindle) {
    const subject = spindle.network.account().did;
    const { rkey } = spindle.network.invite(spindle.owner, subject, host);
    await arrives(spindle, 'a record', async () => {
      const rows = await spindle.sql`select from records where did = ${spindle.owner} and rkey = ${rkey}`;
      return rows.length > 0;
    });
  },
};
