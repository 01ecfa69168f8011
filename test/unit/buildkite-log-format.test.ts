import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { logDecoder } from '../../src/providers/buildkite/log-format.ts';
import { cutLine, lineCut, lineKept } from '../../src/providers/line.ts';
import type { LogLine, LogPlace } from '../../src/providers/provider.ts';
import { agentLog } from '../support/agent-log.ts';

const beginning: LogPlace = { bytes: 0, at: null };
const BEL = '\x07';

/** All lines of these chunks, and the place behind them. */
function decode(chunks: Uint8Array[], from = beginning) {
  const decoder = logDecoder(from);
  const lines = chunks.flatMap((chunk) => decoder.push(chunk));
  const whole = decoder.place;
  lines.push(...decoder.end());
  return { lines, whole, place: decoder.place };
}

const linesOf = (text: string | Buffer): LogLine[] => decode([Buffer.from(text)]).lines;
const textsOf = (text: string | Buffer): string[] => linesOf(text).map((line) => line.text);

/** The same bytes, cut at these positions. */
function chunked(bytes: Buffer, cuts: number[]): Buffer[] {
  const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, n) => bytes.subarray(at[n], end));
}

const codes = ['\x1b_bk;t=1745322209921\x07', '\x1b_bk;dt=12\x1b\\', '\x1b_bk;t=', '\x1b[31m', '\x1b[0m', '\x1b[K'];
const links = ['\x1b]8;;https://a.example\x07', '\x1b]8;;\x07', '\x1b]1339;url=u;content=c\x07'];
const halves = ['\x1b', '\x1b[', '\x1b]', '\x07', '\u009b31m', '\u0085', '\x00', '\t'];
const texts = ['--- ', '+++ ', '~~~ ', '^^^ +++', 'x'.repeat(lineCut), '🧵'];

/** Bytes in which everything that matters comes often: line ends, times, codes, and halves of them. */
const rawLog = fc
  .array(
    fc
      .oneof(
        { weight: 3, arbitrary: fc.constantFrom('\n', '\r\n', '\r\r\n', '\r') },
        {
          weight: 4,
          arbitrary: fc.constantFrom(...codes, ...links, ...halves, ...texts),
        },
        { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength: 12 }) },
      )
      .map((text) => Buffer.from(text)),
    { maxLength: 40 },
  )
  .chain((parts) =>
    fc.uint8Array({ maxLength: 6 }).map((noise) => Buffer.concat([...parts, noise, ...parts.slice(0, 3)])),
  );

describe('any log', () => {
  test('gives the same lines however it is cut into chunks', () => {
    fc.assert(
      fc.property(rawLog, fc.array(fc.nat(), { maxLength: 30 }), (bytes, cuts) => {
        expect(decode(chunked(bytes, cuts))).toEqual(decode([bytes]));
      }),
      { numRuns: 400 },
    );
  });

  test('gives the same lines when it is read on from any place', () => {
    fc.assert(
      fc.property(rawLog, fc.nat(), (bytes, cut) => {
        const stop = cut % (bytes.length + 1);
        const decoder = logDecoder(beginning);
        const before = decoder.push(bytes.subarray(0, stop));
        const { place } = decoder;
        expect(place.bytes === 0 || bytes[place.bytes - 1] === 0x0a).toBe(true);
        const rest = decode([bytes.subarray(place.bytes)], place);
        const once = decode([bytes]);
        expect([...before, ...rest.lines]).toEqual(once.lines);
        expect(rest.place).toEqual(once.place);
        expect(once.place.bytes).toBe(bytes.length);
      }),
      { numRuns: 400 },
    );
  });

  test('gives text that no terminal, frame or database could be hurt by', () => {
    fc.assert(
      fc.property(rawLog, (bytes) => {
        for (const { text, at } of decode([bytes]).lines) {
          expect(text.isWellFormed()).toBe(true);
          const [head = '', ...coded] = text.replaceAll('\t', '').split('\x1b[');
          expect([head, ...coded].join('')).not.toMatch(/\p{Cc}/u);
          for (const piece of coded) expect(piece).toMatch(/^[\d;:]*m/);
          expect(text.length).toBeLessThanOrEqual(lineKept + 300);
          expect(at === null || !Number.isNaN(new Date(at).getTime())).toBe(true);
        }
      }),
      { numRuns: 400 },
    );
  });
});

describe('the log of an agent', () => {
  const { bytes, lines } = agentLog();

  test('has the traits of a real one', () => {
    const text = bytes.toString('latin1');
    expect(bytes.length).toBeGreaterThan(8000);
    expect(text.split('\r\r\n').length).toBeGreaterThan(100);
    expect(text.split('\x1b_bk;t=').length).toBeGreaterThan(text.split('\n').length);
  });

  test('becomes its lines', () => {
    expect(linesOf(bytes)).toEqual(lines);
  });

  test('becomes the same lines byte by byte, and from each line on', () => {
    expect(decode(chunked(bytes, [...bytes.keys()])).lines).toEqual(lines);
    const decoder = logDecoder(beginning);
    let told = 0;
    for (const [n, byte] of bytes.entries()) {
      told += decoder.push(Uint8Array.of(byte)).length;
      if (byte !== 0x0a || n % 5 > 0) continue;
      expect(decode([bytes.subarray(n + 1)], decoder.place).lines).toEqual(lines.slice(told));
    }
  });
});

test.each([
  ['a plain line', 'one\ntwo\n', ['one', 'two']],
  ['empty lines stay', 'a\n\n\r\n\r\r\nb\n', ['a', '', '', '', 'b']],
  ['the end of a file is a line end', 'a\nb', ['a', 'b']],
  ['an end that shows nothing is none', `a\n\x1b_bk;t=5${BEL}`, ['a']],
  ['what is written over is gone', '10%\r20%\r30%\n', ['30%']],
  ['what is written over by nothing stays', '10%\r20%\r\r\x1b[K\r\n', ['20%']],
  ['a colour that ends behind a carriage return ends', '\x1b[31mred\r\x1b[0m\r\n', ['\x1b[31mred\x1b[0m']],
  ['a colour that begins before one begins', '\x1b[31m\rred\x1b[0m\r\n', ['\x1b[31mred\x1b[0m']],
  ['a line of a colour only stays', 'a\n\x1b[0m\nb\n', ['a', '\x1b[0m', 'b']],
  ['colours of eight bits become those of seven', 'a\u009b31mb\n', ['a\x1b[31mb']],
  ['colours stay', '\x1b[1;31mr\x1b[0m \x1b[38:5:9mq\x1b[m\n', ['\x1b[1;31mr\x1b[0m \x1b[38:5:9mq\x1b[m']],
  ['what only looks like colours goes', 'a\x1b[>4;2mb\x1b[?1mc\x1b[1 md\n', ['abcd']],
  ['cursor moves go', 'a\x1b[2Ab\x1b[10;10Hc\x1b[?25l\n', ['abc']],
  ['other escapes go', '\x1b7a\x1b8\x1b(Bb\x1b=c\x1bcd\n', ['abcd']],
  ['titles go', 'a\x1b]0;title\x07b\x1b]2;title\x1b\\c\n', ['abc']],
  ['device strings go', 'a\x1bPq#0\x1b\\b\x1b^pm\x1b\\c\x1bXsos\x1b\\d\n', ['abcd']],
  ['a string without an end ends with its line', 'a\x1b]0;title\nb\x1b_bk;t=1\nc\x1bP\nd\n', ['a', 'b', 'c', 'd']],
  ['a string is ended by the next escape', 'a\x1b]0;title\x1b[31mb\n', ['a\x1b[31mb']],
  ['half a code does not reach the next line', 'a\x1b[3\n1mb\nc\x1b\n[31md\n', ['a', '1mb', 'c', '[31md']],
  ['C1 controls go with what they begin', 'a\u009b2Kb\u009d0;title\u009cc\u0085d\u0090q\u009ce\n', ['abcde']],
  ['controls go', 'a\0b\x08c\x0bd\x0ee\x7ff\tg\n', ['abcdef\tg']],
  [
    'a link names its address',
    '\x1b]8;id=1;https://a.example/x\x07here\x1b]8;;\x07!\n',
    ['here (https://a.example/x)!'],
  ],
  ['a link that is its address is said once', '\x1b]8;;http://a\x07http://a\x1b]8;;\x07\n', ['http://a']],
  ['a link that is not ended ends with the line', '\x1b]8;;http://a\x07here\nb\n', ['here (http://a)', 'b']],
  [
    'a link ends where the next begins',
    '\x1b]8;;http://a\x07a\x1b]8;;http://b\x07b\x1b]8;;\x07\n',
    ['a (http://a)b (http://b)'],
  ],
  ['a link of Buildkite', '\x1b]1339;url=\'https://a;b\';content="a;b"\x07\n', ['a;b (https://a;b)']],
  ['a link of Buildkite without words', '\x1b]1339;url=https://a\x07\n', ['https://a']],
  [
    'pictures are a word',
    '\x1b]1337;File=name=YQ==;inline=1:AAAA\x07 \x1b]1338;url=http://a\x07\n',
    ['[image] [image http://a]'],
  ],
  ['bytes that are not UTF-8 are replaced', Buffer.from([0xe2, 0x82, 0x0a, 0xac, 0x0a]), ['\ufffd', '\ufffd']],
  ['a byte order mark is a character', '\ufeffa\n', ['\ufeffa']],
  ['a command of the agent that means nothing is dropped', 'a\n^^^ +++\r\nb\n', ['a', 'b']],
])('%s', (_name, raw, expected) => {
  expect(textsOf(raw)).toEqual(expected);
});

test.each([
  ['--- name', 'name', 'user'],
  ['+++  :rocket: name ', ':rocket: name', 'user'],
  ['~~~ Preparing', 'Preparing', 'system'],
  ['--- \x1b[33mcoloured\x1b[0m', 'coloured', 'user'],
  ['---', '---', undefined],
  ['--- ', '--- ', undefined],
  ['----- dashes', '----- dashes', undefined],
  ['---name', '---name', undefined],
  [' --- name', ' --- name', undefined],
])('the header %j', (raw, text, group) => {
  expect(linesOf(`${raw}\r\n`)).toEqual([{ text, at: null, ...(group ? { group } : {}) }]);
});

describe('the time of a line', () => {
  const times = (text: string, at: number | null = null) =>
    decode([Buffer.from(text)], { bytes: 0, at }).lines.map((line) => line.at);

  test('is the first in it, else the last before it', () => {
    expect(times(`\x1b_bk;t=5${BEL}a\r\x1b_bk;t=9${BEL}b\nc\n\x1b_bk;t=12\x1b\\d\n`)).toEqual([5, 9, 12]);
  });
  test('may be a difference, and may have company', () => {
    expect(times(`\x1b_bk;dt=3${BEL}a\n\x1b_bk;x=1;t=8${BEL}b\n\x1b_bk;dt=2;y=1${BEL}c\n`, 10)).toEqual([13, 8, 10]);
  });
  test('is unknown before the first, and a difference to nothing is no time', () => {
    expect(times(`a\n\x1b_bk;dt=3${BEL}b\n`)).toEqual([null, null]);
  });
  test('that is nonsense is none', () => {
    for (const nonsense of ['x', '', '-1', '1e9', '9999999999999999', '99999999999999999999', '5 ']) {
      expect(times(`\x1b_bk;t=${nonsense}${BEL}a\n`, 7), nonsense).toEqual([7]);
    }
    expect(times(`\x1b_bk;t=253402300799999${BEL}a\n\x1b_bk;dt=1${BEL}b\n`)).toEqual([
      253402300799999, 253402300799999,
    ]);
    expect(times(`\x1b_other;t=9${BEL}a\n`, 7)).toEqual([7]);
  });
});

describe('a long line', () => {
  const shown = (line: LogLine | undefined): string => cutLine(line ?? { text: 'no line', at: null });

  test('is cut, and says so', () => {
    const [long, next] = linesOf(`${'x'.repeat(1 << 20)}\nnext\n`);
    expect(long?.bytes).toBe(1 << 20);
    expect(shown(long)).toBe(`${'x'.repeat(lineCut)}… [line of 1048576 bytes cut]`);
    expect(next).toEqual({ text: 'next', at: null });
  });

  test('comes with slack, so that what lies across the cut is whole when it is masked', () => {
    const secret = 'a-secret-of-some-length';
    const [long] = linesOf(`${'x'.repeat(lineCut - 5)}${secret}${'y'.repeat(1 << 20)}\n`);
    expect(long?.text).toContain(secret);
    const masked = cutLine({ text: (long?.text ?? '').replace(secret, '***'), bytes: long?.bytes ?? 0 });
    expect(masked).not.toContain(secret.slice(0, 5));
    expect(masked).toMatch(/x\*\*\*yy… \[line of \d+ bytes cut\]$/);
  });

  test('that is short without its codes is not cut', () => {
    const [line] = linesOf(`${'\x1b[2K'.repeat(lineCut / 4)}all of it\n`);
    expect(shown(line)).toBe('all of it');
  });

  test('is not cut inside of a character or a code', () => {
    const [smile] = linesOf(`${'x'.repeat(lineCut - 1)}🧵${'y'.repeat(lineCut)}\n`);
    expect(shown(smile).isWellFormed()).toBe(true);
    const [code] = linesOf(`\x1b[1m${'x'.repeat(lineCut - 6)}\x1b[31m${'y'.repeat(lineCut)}\n`);
    expect(shown(code)).toContain('x\x1b[0m… [line of ');
  });

  test('that is written over a million times is as long as what is seen of it', () => {
    const step = Buffer.from(`\x1b[K\x1b_bk;t=1745322209921${BEL}${'#'.repeat(400)}\r`);
    const decoder = logDecoder(beginning);
    for (let n = 0; n < 50_000; n += 1) expect(decoder.push(step)).toHaveLength(0);
    expect(decoder.push(Buffer.from('done\n'))).toEqual([{ text: 'done', at: 1745322209921 }]);
  });

  test('of a gigabyte is read in little memory', () => {
    const decoder = logDecoder(beginning);
    const chunk = Buffer.alloc(1 << 20, 'x');
    decoder.push(chunk);
    const before = process.memoryUsage().arrayBuffers;
    for (let n = 1; n < 1024; n += 1) decoder.push(chunk);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 << 20);
    const [line] = decoder.push(Buffer.from('\n'));
    expect(line?.bytes).toBe(2 ** 30);
    expect(line?.text).toHaveLength(lineKept);
  });
});
