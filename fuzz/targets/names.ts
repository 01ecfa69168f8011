import fc from 'fast-check';
import { parseDuration } from '../../src/config/duration.ts';
import { parseCursor } from '../../src/forges/tangled/cursor.ts';
import { fitsInt64, parseInt64 } from '../../src/forges/tangled/int64.ts';
import * as names from '../../src/forges/tangled/names.ts';
import { quote } from '../../src/forges/tangled/quote.ts';
import { tidAt, tidTime } from '../../src/forges/tangled/tid.ts';
import { parsePipelineUri, pipelineUri } from '../../src/forges/tangled/uri.ts';
import { skewOf } from '../../src/ingest/knot-clock.ts';
import { knotNameProblem } from '../../src/ingest/knot-url.ts';
import { parsePipelineId, pipelineId } from '../../src/pipeline/ids.ts';
import { shareOfPipeline } from '../../src/pipeline/share.ts';
import { isSlug, parseBuildUrl, parseTime } from '../../src/providers/buildkite/wire.ts';
import { changedBytes } from '../inputs/bytes.ts';
import { texts } from '../inputs/hostile.ts';
import { expect, type Target } from '../target.ts';
import { judgeHost } from './network.ts';

const real = [
  'did:plc:hgnnks5sjbyfk5sxbc2v77gh',
  'did:web:owner.example%3A8080',
  'knot1.tangled.sh',
  '127.0.0.1:5555',
  '[::1]:443',
  '3n2rsm36hgg22',
  'self',
  'sh.tangled.spindle.member',
  'at://did:web:localhost:6000/sh.tangled.pipeline/3n2rsm36hgg22',
  'pipeline/knot.example:5555/3n2rsm36hgg22',
  '1795220930422551000',
  '-9223372036854775808',
  '+42',
  '1h30m15s250ms',
  '2018-11-01 15:03:16 UTC',
  '2026-11-20T09:58:00.123Z',
  'Sat, 21 Nov 2026 00:00:00 GMT',
  'https://api.buildkite.com/v2/organizations/acme/pipelines/app/builds/12',
];

export const namesTarget: Target = {
  name: 'names',
  about: 'DIDs, hosts, keys, AT-URIs, TIDs, cursors, durations, times',
  weight: 30,
  inputs: fc.oneof(
    {
      weight: 4,
      arbitrary: changedBytes(
        [...real, ...texts].map((each) => Buffer.from(each)),
        {
          words: [
            ':',
            '.',
            '-',
            '%',
            '/',
            '0',
            '9',
            'did:plc:',
            'did:web:',
            '[',
            ']',
            '@',
            '\\',
            '#',
            '?',
            'xn--',
            '。',
            'ſ',
          ],
        },
      ),
    },
    { weight: 1, arbitrary: fc.string({ unit: 'binary' }).map((text) => Buffer.from(text)) },
  ),
  run(input) {
    const text = input.toString('utf8');
    judgeHost(text);
    judgeHost(text.toLowerCase());
    const problem = knotNameProblem(text);
    expect((problem === undefined) === names.isHost(text), () => `${text} is a knot and no host`);
    judgeNumbers(text);
    judgeIds(text);
    const shown = quote(text);
    expect(shown.length < 700 && JSON.parse(shown) !== undefined, () => `quoted to ${shown.length} characters`);
    if (names.isClean(text, 256)) expect(!text.includes('\0') && text.length <= 256, () => 'not clean at all');
    if (isSlug(text)) expect(encodeURIComponent(text) === text && !/^\.+$/.test(text), () => `${text} climbs`);
    const build = parseBuildUrl(text);
    if (build) expect(!build.org.includes('/') && !Number.isNaN(build.number), () => `${text} is no build`);
    const time = parseTime(text);
    expect(time === undefined || Number.isSafeInteger(time), () => `the time ${time}`);
    expect(Number.isFinite(skewOf(text, Date.UTC(2026, 10, 21))), () => 'a skew that is no number');
  },
};

function judgeNumbers(text: string): void {
  const value = parseInt64(text);
  if (value !== undefined) {
    expect(fitsInt64(value) && parseInt64(`${value}`) === value, () => `${text} becomes ${value}`);
  }
  const cursor = parseCursor(text);
  expect(cursor === undefined || (cursor !== 0n && parseCursor(`${cursor}`) === cursor), () => `cursor ${cursor}`);
  const ms = parseDuration(text);
  expect(ms === undefined || (Number.isInteger(ms) && ms >= 0 && ms < 2 ** 31), () => `a duration of ${ms}`);
  const time = tidTime(text);
  if (time === undefined) return;
  const tid = tidAt(time);
  expect(tidTime(tid) === time && tid.slice(0, 11) === text.slice(0, 11), () => `${text} becomes ${tid}`);
  new Date(Number(time / 1_000_000n)).toISOString();
}

function judgeIds(text: string): void {
  for (const judge of [names.isDid, names.isCollection, names.isRecordKey]) {
    if (judge(text)) expect(/^[\x21-\x7e]{1,520}$/.test(text), () => `${JSON.stringify(text)} is taken for a name`);
  }
  if (names.isRev(text)) expect(text.length === 13, () => `${text} is taken for a rev`);
  const share = shareOfPipeline(text, text);
  expect(Number.isInteger(share) && share >= 0, () => `share ${share}`);
  const uri = parsePipelineUri(text);
  if (uri) expect(pipelineUri(uri.knot, uri.rkey) === text, () => `${text} is read as ${JSON.stringify(uri)}`);
  const id = parsePipelineId(text);
  if (id) expect(pipelineId(id.knot, id.rkey) === text, () => `${text} is read as ${JSON.stringify(id)}`);
}
