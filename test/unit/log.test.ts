import { expect, test, vi } from 'vitest';
import { secretMask } from '../../src/activities/mask.ts';
import { steadyMask } from '../../src/log-hide.ts';
import { createLogger, type LogOptions } from '../../src/log.ts';

const token = 'bkua_planted0planted1planted2planted3';
const password = 'pa/ss word%planted';

interface Line {
  level: number;
  msg: string;
  more?: number;
  pipeline?: string;
}

function logger(options: Partial<LogOptions> = {}) {
  const written: string[] = [];
  const log = createLogger({
    level: 'debug',
    format: 'json',
    to: { write: (line) => void written.push(line) },
    ...options,
  });
  return { log, written, lines: (): Line[] => written.map((line) => JSON.parse(line) as Line) };
}

test.each<{ where: string; line: (log: ReturnType<typeof logger>['log']) => void }>([
  { where: 'in a message', line: (log) => log.info(`refused ${token}`) },
  { where: 'in an error', line: (log) => log.warn({ err: new Error(`GET /x with ${token}`) }, 'failed') },
  {
    where: 'in the cause of an error',
    line: (log) => log.error({ err: new Error('failed', { cause: new Error(`it was ${token}`) }) }, 'failed'),
  },
  {
    where: 'in base64',
    line: (log) => log.info({ said: Buffer.from(`user:${token}`).toString('base64') }, 'a header'),
  },
  { where: 'encoded for a URL', line: (log) => log.info({ url: `x?p=${encodeURIComponent(password)}` }, 'a URL') },
  { where: 'in a child', line: (log) => log.child({ token }).info('a child') },
  { where: 'as a key', line: (log) => log.info({ [token]: 1 }, 'a key') },
])('a secret that we know is not written: $where', ({ line }) => {
  const { log, written, lines } = logger({ mask: steadyMask(secretMask(() => [token, password])) });
  line(log);
  expect(lines()).toHaveLength(1);
  for (const form of [
    token,
    password,
    encodeURIComponent(password),
    Buffer.from(token).toString('base64').slice(4, 20),
  ])
    expect(written.join('')).not.toContain(form);
});

test.each<{ where: string; about: object }>([
  { where: 'a header', about: { request: { headers: { Authorization: 'Bearer unknown-planted-token' } } } },
  { where: 'a field', about: { deep: { er: { password: 'unknown-planted "token"' } } } },
  { where: 'words', about: { err: new Error('sent authorization: Bearer unknown-planted-token to them') } },
  { where: 'a URL', about: { url: 'postgres://whorl:unknown-planted-token@localhost/whorl' } },
])('what looks like a secret is not written, though nobody told us of it: $where', ({ about }) => {
  const { log, written, lines } = logger();
  log.info(about, 'about');
  expect(lines()[0]?.msg).toBe('about');
  expect(written.join('')).not.toContain('planted');
});

test('a line without secrets is as it was', () => {
  const { log, lines } = logger({ mask: steadyMask(secretMask(() => [token])) });
  const about = {
    pipeline: 'pipeline/knot.example/3abc',
    knot: 'knot.example',
    url: 'https://knot.example:8080/a@b?x=1:2',
  };
  log.info({ ...about, builds: ['b1'] }, 'pipeline opened again');
  expect(lines()).toMatchObject([{ ...about, builds: ['b1'], msg: 'pipeline opened again', level: 30 }]);
});

test('a secret that was replaced stays hidden, and the new one is hidden within a second', async () => {
  let secret = token;
  const { log, written } = logger({
    mask: steadyMask(
      secretMask(() => [secret]),
      50,
    ),
  });
  log.info(token);
  secret = 'the-next-planted-one';
  await vi.waitFor(() => {
    log.info(`is it ${secret}`);
    expect(written.at(-1)).not.toContain(secret);
  });
  log.info(token);
  expect(written.at(-1)).not.toContain(token);
});

test('the same warning is written three times, and then once with a count', async () => {
  const { log, lines } = logger({ level: 'info', seldom: { spanMs: 300 } });
  for (let n = 0; n < 500; n++) log.child({ knot: 'a' }).warn({ pipeline: `p${n}` }, 'dispatch failed, trying again');
  log.warn({ pipeline: 'p' }, 'something else');
  expect(lines().map(({ pipeline }) => pipeline)).toEqual(['p0', 'p1', 'p2', 'p']);
  await vi.waitFor(() => expect(lines()).toHaveLength(5));
  expect(lines().at(-1)).toMatchObject({
    knot: 'a',
    pipeline: 'p499',
    more: 497,
    msg: 'dispatch failed, trying again',
  });
  log.warn({ pipeline: 'later' }, 'dispatch failed, trying again');
  expect(lines().at(-1)).toMatchObject({ level: 40, pipeline: 'later' });
  expect(lines().at(-1)).not.toHaveProperty('more');
});

test('another error is another warning, and whoever debugs sees every one', () => {
  const { log, lines } = logger();
  const away = (code: string) => Object.assign(new Error('no'), { code });
  for (let n = 0; n < 10; n++) log.warn({ err: away('ECONNREFUSED') }, 'storing events failed');
  for (let n = 0; n < 2; n++) log.warn({ err: away('57P01') }, 'storing events failed');
  expect(lines().filter(({ level }) => level === 40)).toHaveLength(5);
  expect(lines().filter(({ level }) => level === 20)).toHaveLength(7);
});

test('what is no warning is never held back, nor is the last word before the end', () => {
  const { log, lines } = logger();
  for (let n = 0; n < 10; n++) log.info('trigger started');
  for (let n = 0; n < 4; n++) log.fatal('cannot go on');
  expect(lines()).toHaveLength(14);
});
