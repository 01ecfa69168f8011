import type { Writable } from 'node:stream';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import * as ws from 'ws';
import { joined, textFrame, textFrames, withoutColours } from '../../src/server/wire.ts';
import { withEncodedTarget } from '../../src/server/raw-target.ts';

/** What reads frames in `ws`; its types leave it out. */
const { Receiver } = ws as unknown as { Receiver: new (options: object) => Writable };

/** The texts of frames, as the library's own parser reads them. */
async function received(frames: Buffer[]): Promise<string[]> {
  const texts: string[] = [];
  const receiver = new Receiver({ isServer: false, allowSynchronousEvents: true });
  receiver.on('message', (data: Buffer, isBinary: boolean) => texts.push(isBinary ? 'BINARY' : data.toString()));
  for (const bytes of frames) {
    await new Promise<void>((resolve, reject) =>
      receiver.write(bytes, (error?: Error | null) => (error ? reject(error) : resolve())),
    );
  }
  return texts;
}

test('lines become one text frame each, of any length, in pieces that end between frames', async () => {
  for (const length of [0, 1, 125, 126, 127, 65_535, 65_536, 200_000]) {
    const lines = ['first', 'é'.repeat(length / 2) + 'x'.repeat(length % 2), '', 'last'];
    const pieces = textFrames(Buffer.from(lines.join('\n')), 1_000);
    expect(await received(pieces)).toEqual(lines);
    for (const piece of pieces) expect(piece[0]).toBe(0x81);
    expect(await received(lines.map(textFrame))).toEqual(lines);
    for (const pieceBytes of [1, 100, 1_000_000]) {
      expect(await received([...joined(lines.map(textFrame), pieceBytes)])).toEqual(lines);
    }
  }
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\n', '')),
        { minLength: 1 },
      ),
      fc.integer({ min: 1, max: 200 }),
      async (lines, pieceBytes) => {
        expect(await received(textFrames(Buffer.from(lines.join('\n')), pieceBytes))).toEqual(
          lines.map((line) => Buffer.from(line).toString()),
        );
      },
    ),
  );
});

const stripped = (content: string): string =>
  (JSON.parse(withoutColours(Buffer.from(JSON.stringify({ content }))).toString()) as { content: string }).content;

test('codes of colours go out of an entry, and nothing else does', () => {
  const piece = fc.constantFrom(
    '\u001b[31m',
    '\u001b[m',
    '\u001b[1;38;5;3m',
    '\u001b',
    '\\',
    '"',
    'u001b[0m',
    '[0m',
    'é',
    '\n',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
      const content = pieces.join('');
      // oxlint-disable-next-line no-control-regex -- it is what this is about
      expect(stripped(content)).toBe(content.replaceAll(/\u001b\[[\d;:]*m/g, ''));
    }),
    { numRuns: 1_000 },
  );
});

test('a line of backslashes alone costs no more than any other', () => {
  const content = '\\'.repeat(500_000) + '\u001b[1m' + '\\u001b['.repeat(50_000);
  expect(stripped(content)).toBe('\\'.repeat(500_000) + '\\u001b['.repeat(50_000));
});

test.each([
  [
    'GET /logs/k/r/two keys é.yml HTTP/1.1\r\nHost: é\r\n\r\n',
    'GET /logs/k/r/two%20keys%20%c3%a9.yml HTTP/1.1\r\nHost: é\r\n\r\n',
  ],
  ['GET /events?cursor=1 HTTP/1.1\r\n\r\n', undefined],
  ['GET /a%20b HTTP/1.0\r\n\r\n', undefined],
  ['GET /é', undefined],
  ['GET /é HTTP/2\r\n\r\n', undefined],
  ['\u0016\u0003\u0001é\r\n', undefined],
  ['', undefined],
])('of the first bytes of a connection only a raw target is changed: %j', (sent, changed) => {
  expect(withEncodedTarget(Buffer.from(sent)).toString()).toBe(changed ?? sent);
});
