import { lineCut, lineKept } from '../../src/providers/line.ts';

/** Planted in logs; no reader may see it. */
export const secret = 'bkua_0123456789abcdef';

const times = [
  '\x1b_bk;t=1745322209921\x07',
  '\x1b_bk;dt=12\x1b\\',
  '\x1b_bk;t=999999999999999\x07',
  '\x1b_bk;t=',
  '\x9f',
];
const codes = [
  '\x1b[31m',
  '\x1b[0m',
  '\x1b[K',
  '\x1b[38;2;10;20;30m',
  '\u009b31m',
  '\x1b[',
  '\x1b',
  '\x1b]',
  '\x07',
  '\x1b\\',
];
const links = [
  '\x1b]8;;https://a.example\x07',
  '\x1b]8;;\x07',
  '\x1b]1339;url=u;content=c\x07',
  "\x1b]1338;url='",
  '\x1bP',
  '\x1bX',
];
const groups = ['--- ', '+++ ', '~~~ ', '^^^ +++', '\n', '\r', '\r\n', '\r\r\n', '\t', '\0'];

export const logWords: readonly (string | Uint8Array)[] = [
  ...times,
  ...codes,
  ...links,
  ...groups,
  secret,
  secret.slice(0, 9),
  secret.slice(9),
  Buffer.from(secret).toString('base64'),
  '🧵',
  Buffer.from([0xf0, 0x9f]),
  Buffer.from([0xc3]),
  Buffer.from([0xff]),
  '\u0085',
];

const line = (at: number, text: string, end = '\r\r\n'): string => `\x1b_bk;t=${at}\x07${text}${end}`;

const job = [
  line(1_745_322_209_921, '~~~ Preparing working directory', '\r\n'),
  line(1_745_322_209_931, '\x1b[90m$\x1b[0m git clone -v -- https://example.com/app.git .', '\r\n'),
  line(1_745_322_209_941, `10%\r\x1b[K\x1b_bk;t=1745322210941\x0755%\r\x1b[K100%, done`),
  line(1_745_322_211_000, '--- :package: Installing', '\r\n'),
  line(1_745_322_211_010, `token=${secret} and \x1b[31m${secret.slice(0, 8)}\x1b[0m${secret.slice(8)}`),
  line(1_745_322_211_020, '\x1b]1339;url=https://ci.example/7;content=the report\x07 is there'),
  line(1_745_322_211_030, '\x1b]8;;https://a.example\x1b\\a page\x1b]8;;\x1b\\ umlauts äöü, 纺锤, 🧵'),
  line(1_745_322_211_040, '+++ Open\n^^^ +++', '\n'),
  'no time of its own\n',
  line(1_745_322_211_050, 'the last line has no end', ''),
].join('');

/** Whole logs, and parts of them. */
export const logSamples: readonly Buffer[] = [undefined, 900, 400, 100].map((end) => Buffer.from(job.slice(0, end)));

/** Lines about as long as they may be, with the secret across the cut. */
export const longLines: readonly Buffer[] = [
  `${'x'.repeat(lineCut - 10)}${secret}${'y'.repeat(200)}\nafter\n`,
  `${'x'.repeat(lineKept - 10)}${secret}${'y'.repeat(200)}\nafter\n`,
].map((text) => Buffer.from(text));
