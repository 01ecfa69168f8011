import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { parseLogPath } from '../../src/server/log-path.ts';
import { isLogPath } from '../../src/server/logs.ts';
import { withEncodedTarget } from '../../src/server/raw-target.ts';
import { refusalOf, upgradeRefusal } from '../../src/server/xrpc.ts';
import { changedBytes } from '../inputs/bytes.ts';
import { texts } from '../inputs/hostile.ts';
import { expect, type Target } from '../target.ts';

const targets = [
  '/logs/127.0.0.1:5555/3n2rsm36hgg22/ci.yml',
  '/logs/knot.example%3A5555/3n2rsm36hgg22/b%C3%BCild%20it.yml',
  '/logs/knot/r/ünï.yml',
  '/logs/knot/r/100%.yml',
  '/logs//../..//%2e%2e%2f',
  '/events?cursor=1795220930422551000',
  '/xrpc/sh.tangled.owner?x=1',
  '//host/path',
  'http://absolute.example/logs/a/b/c',
  '*',
];
const requests = [...targets, ...texts].map((target) => `GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`);

export const pathsTarget: Target = {
  name: 'paths',
  about: 'paths of logs and methods, and raw bytes in them',
  weight: 16,
  inputs: fc.oneof(
    {
      weight: 2,
      arbitrary: changedBytes(
        requests.map((each) => Buffer.from(each)),
        {
          words: [
            '%',
            '%00',
            '%2f',
            '%ff',
            '/',
            '/logs/',
            ' ',
            '\t',
            '\r',
            '\r\n',
            '\0',
            'ü',
            Buffer.from([0xff, 0xfe]),
            '?',
            '#',
            ' HTTP/1.1\r\n',
            'GET ',
          ],
        },
      ),
    },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)) },
  ),
  run(input) {
    const encoded = withEncodedTarget(input);
    expect(withEncodedTarget(encoded).equals(encoded), () => 'what is encoded is encoded again');
    const lineEnd = encoded.indexOf('\n');
    const first = encoded.toString('latin1', 0, Math.max(0, lineEnd));
    const [, target] = /^[A-Z]+ (.+) HTTP\/1\.[01]\r$/.exec(first) ?? [];
    if (target === undefined) {
      expect(encoded.equals(input), () => 'what is no request was changed');
      return judgePath(input.toString('latin1'));
    }
    expect(/^[\x21-\x7e]+$/.test(target), () => `the parser refuses ${target}`);
    judgePath(target.split('?', 1)[0] ?? '');
  },
};

function judgePath(path: string): void {
  isLogPath(path);
  const parsed = parseLogPath(path);
  if (parsed !== undefined && parsed !== 'incomplete') {
    const { knot, rkey, jobs } = parsed;
    expect(jobs.length === 1 || jobs.length === 2, () => `${jobs.length} names`);
    for (const text of [knot, rkey, ...jobs]) {
      expect(
        text !== '' && text.isWellFormed() && !text.includes('\0'),
        () => `PostgreSQL refuses ${JSON.stringify(text)}`,
      );
    }
    const again = parseLogPath(`/logs/${[knot, rkey, jobs[0] ?? ''].map(encodeURIComponent).join('/')}`);
    const same = isDeepStrictEqual(again, {
      knot,
      rkey,
      jobs: [...new Set([jobs[0], encodeURIComponent(jobs[0] ?? '')])],
    });
    expect(same, () => `${JSON.stringify(parsed)} is read again as ${JSON.stringify(again)}`);
  }
  const refusal = refusalOf('GET', path.slice(6), new Map());
  expect(refusal !== undefined && refusal.status >= 400 && refusal.status !== 500, () => 'a method that there is not');
  upgradeRefusal(path);
}
