import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { type Found, regexesIn } from '../support/regexes.ts';

/** What only reads what the operator wrote, or a program that the operator chose. */
const operators = [
  /^config\//,
  /^embedded\//,
  /^cli\/(?:config|replay|replay-words)\.ts$/,
  /^store\/migrate\.ts$/,
  /^main\.ts$/,
];
/** The same, one by one. */
const operatorsOwn = new Map([
  ['activities/mask.ts =+$', 'base64 of a secret setting'],
  ['providers/buildkite/client.ts \\/+$', 'the setting of the API address'],
]);

const meetsOutside = ({ file, source }: Found): boolean =>
  !operators.some((each) => each.test(file)) && !operatorsOwn.has(`${file} ${source}`);

/** A step that takes longer than this is not linear: 100 kB take a millisecond or so. */
const patienceMs = 5_000;

/** Runs in a thread of its own: a regular expression that has begun cannot be stopped otherwise. */
const tries = `
  import { parentPort, workerData } from 'node:worker_threads';
  const length = 100_000;
  const common = ['a', 'A', '0', ' ', '\\t', '\\n', '.', '-', '/', ':', '=', '"', "'", '%', '_', '\\x1b', ';', ',', '{', '[', '\\\\', 'é'];

  /** The characters that a pattern speaks of, and what it begins with. */
  const own = (source) => [...new Set(source.replaceAll(/\\\\[a-zA-Z]|[\\\\^$?*+(){}|[\\]]/g, ''))].slice(0, 24);
  const beginning = (source) => /^\\^?((?:\\\\[/.\\[]|\\\\x1b|[^\\\\^$?*+(){}|[\\].])*)/.exec(source)[1].replaceAll('\\\\x1b', '\\x1b').replaceAll('\\\\', '');

  function* inputs(source) {
    const letters = [...new Set([...common, ...own(source)])];
    const prefixes = [...new Set(['', beginning(source), 'did:web:', 'a'])];
    for (const prefix of prefixes)
      for (const end of ['\\0', ''])
        for (const one of letters) yield prefix + one.repeat(length) + end;
    const few = own(source).slice(0, 8);
    for (const one of few) for (const other of few) if (one !== other) yield (one + other).repeat(length / 2) + '\\0';
  }

  for (const { file, source, flags } of workerData) {
    let regex;
    try {
      regex = new RegExp(source, flags);
    } catch {
      continue; // not one after all
    }
    for (const input of inputs(source)) {
      parentPort.postMessage([file, '/' + source + '/' + flags, input.slice(0, 30)]);
      regex.lastIndex = 0;
      regex.test(input);
      if (regex.global) input.replace(regex, '');
    }
  }
  parentPort.postMessage([]);`;

/** Gives the first regular expression, with its input, that took too long; undefined when none did. */
async function slow(regexes: Found[]): Promise<string[] | undefined> {
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(tries)}`), { workerData: regexes });
  const over = Promise.withResolvers<string[] | undefined>();
  let at: string[] = [];
  const patience = setTimeout(() => over.resolve(at), patienceMs);
  worker.on('error', over.reject).on('message', (next: string[]) => {
    at = next;
    patience.refresh();
    if (next.length === 0) over.resolve(undefined);
  });
  try {
    return await over.promise;
  } finally {
    clearTimeout(patience);
    await worker.terminate();
  }
}

const all = regexesIn(path.join(import.meta.dirname, '../../src'));

test('the search finds what is there, and what is exempt is there too', () => {
  const names = all.map(({ file, source }) => `${file} ${source}`);
  expect(names).toEqual(
    expect.arrayContaining([
      'forges/tangled/trigger.ts ^[0-9a-f]{40}$',
      'providers/buildkite/wire.ts ^[A-Za-z0-9_][A-Za-z0-9._-]*$',
      'server/log-path.ts %([0-9a-fA-F]{2})',
      'server/raw-target.ts ^([A-Z]+ )(.+)( HTTP\\/1\\.[01]\\r)$',
    ]),
  );
  expect(names.length).toBeGreaterThan(100);
  for (const name of operatorsOwn.keys()) expect(names).toContain(name);
});

test('one that is not linear is found', async () => {
  const [file, flags] = ['x.ts', ''];
  expect((await slow([{ file, flags, source: '^(a+)+$' }]))?.[1]).toBe('/^(a+)+$/');
  expect((await slow([{ file, flags, source: '\\s+$' }]))?.[1]).toBe('/\\s+$/');
}, 60_000);

test('every regular expression that meets input from outside takes 100 kB of it at once', async () => {
  expect(await slow(all.filter(meetsOutside))).toBeUndefined();
}, 120_000);
