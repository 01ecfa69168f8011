import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { pipelineEvent } from '../../sim/knot/events.ts';
import { eventTime, parseFrame } from '../../src/forges/tangled/frame.ts';
import { parsePipeline, type PipelineTrigger } from '../../src/forges/tangled/trigger.ts';
import { parsePipelineUri, pipelineUri } from '../../src/forges/tangled/uri.ts';
import { advance, position, rewound, skewOf, startOf } from '../../src/ingest/knot-clock.ts';
import { toTrigger } from '../../src/ingest/knot-trigger.ts';
import { titleOf } from '../../src/pipeline/plan.ts';
import { changedBytes } from '../inputs/bytes.ts';
import { knotEvents } from '../inputs/captures.ts';
import { changedJson } from '../inputs/json.ts';
import { seedOf } from '../random.ts';
import { expect, type Target } from '../target.ts';

const knot = '127.0.0.1:5555';
const now = Date.UTC(2026, 10, 21);
const repo = { did: 'did:plc:ewvi7nxzyoun6zhxrhs64oiz', name: 'whorl-demo' };
const workflows = [{ name: 'ci.yml', raw: 'tack: {fake: {}}\n' }];

const frame = (event: object, more: object = {}): string =>
  JSON.stringify({ rkey: '3n2rsm36hgg22', nsid: 'sh.tangled.pipeline', event, ...more });

/** The captured ones, and those of the other kinds and of newer knots. */
export const knotFrames: readonly string[] = [
  ...knotEvents,
  frame(pipelineEvent({ repo, workflows, kind: 'pull_request' }, 'a'.repeat(40), knot)),
  frame(pipelineEvent({ repo, workflows, kind: 'manual', inputs: [{ key: 'a', value: 'b' }] }, 'b'.repeat(40), knot), {
    created: 1_795_220_930_422_551_000,
  }),
  frame(pipelineEvent({ repo: { ...repo, repoDid: repo.did }, workflows }, 'c'.repeat(40), knot), {
    created: '1795220930422551000',
  }),
];

/** What a knot's clock may say of itself. */
const dates = [
  undefined,
  'Sat, 21 Nov 2026 00:00:00 GMT',
  'Sat, 21 Nov 2026 01:00:00 GMT',
  'Thu, 01 Jan 1970 00:00:00 GMT',
  '+275760-09-13T00:00:00.000Z',
  '-271821-04-20T00:00:00.000Z',
  'never',
];

const since = new Date(now - 3_600_000);
const wanted = { knot, since, pinned: false, repos: [{ ...repo, rkey: 'x', repoDid: null, chosenAt: since }] };

export const knotFramesTarget: Target = {
  name: 'knot-frames',
  about: 'frames of /events: envelope, cursor, trigger',
  weight: 10,
  inputs: fc.oneof(
    { weight: 3, arbitrary: changedJson(knotFrames) },
    {
      weight: 1,
      arbitrary: changedBytes(
        knotFrames.map((each) => Buffer.from(each)),
        {
          words: ['"created":', '1'.repeat(19), '{"', '"}', '[', '\\ud83e', '\\u0000', '"nsid":"sh.tangled.pipeline"'],
        },
      ),
    },
  ),
  run(input) {
    const parsed = parseFrame(input.toString('utf8'));
    if ('problem' in parsed) return;
    const skew = skewOf(dates[seedOf(parsed.rkey, input.length) % dates.length], now);
    const time = eventTime(parsed);
    const top = advance(1n, time, { now, skew });
    expect(top >= 1n && position(top, now) <= BigInt(now) * 1_000_000n, () => `the cursor goes to ${top}`);
    expect(rewound(top, 5_000) >= 1n && startOf(since, { now, skew }) >= 1n, () => `a start before all time`);
    const row = toTrigger(knot, parsed, wanted, skew);
    // as the statement that stores it does
    row.eventAt?.toISOString();
    expect(row.share >= 0 && row.share < 32_768, () => `share ${row.share}`);
    if (parsed.nsid === '') return;
    const uri = parsePipelineUri(pipelineUri(knot, parsed.rkey));
    expect(parsed.rkey.includes('%') || uri?.rkey === parsed.rkey, () => `${parsed.rkey} is lost in its URI`);
    judgeTrigger(parsed.event);
  },
};

function judgeTrigger(event: unknown): void {
  const parsed = parsePipeline(event);
  if (!parsed.ok) return expect(parsed.reason.length < 700, () => `a reason of ${parsed.reason.length} characters`);
  const { trigger } = parsed;
  expect(/^[0-9a-f]{40}$/.test(trigger.commit), () => `commit ${trigger.commit}`);
  expect(new Set(trigger.workflows.map(({ name }) => name)).size === trigger.workflows.length, () => 'a name twice');
  titleOf({ ...trigger, branch: trigger.branch ?? '' });
  const again = parsePipeline(JSON.parse(JSON.stringify(eventOf(trigger))));
  // as JSON has it, where 0 has no sign
  const first: unknown = JSON.parse(JSON.stringify({ ...trigger, dropped: 0, duplicates: 0 }));
  const same = again.ok && isDeepStrictEqual(again.trigger, first);
  expect(same, () => `written and read again it is ${JSON.stringify(again)}, and was ${JSON.stringify(trigger)}`);
}

/** An event that says what was read of one. */
function eventOf({ kind, repo: where, commit, ref, oldSha, pullRequest, inputs, workflows: files }: PipelineTrigger) {
  const body = pullRequest
    ? { pullRequest: { ...pullRequest, sourceSha: commit } }
    : kind === 'manual' || inputs
      ? { manual: { sha: commit, ref, inputs } }
      : { push: { newSha: commit, ref, oldSha } };
  const { name, ...more } = where;
  return { triggerMetadata: { kind, ...body, repo: { ...more, repo: name } }, workflows: files };
}
