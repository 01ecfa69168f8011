import { stringify } from 'yaml';
import type { PushOrder } from './contract.ts';
import type { PushedJob } from './evidence.ts';
import { type Draws, draws } from './random.ts';
import { pipelines } from './settings.ts';

/** A push that is to be made, and what each of its files must lead to. */
export interface PlannedPush extends PushOrder {
  files: (PushOrder['files'][number] & PushedJob)[];
}

/** The repositories, by whose indexes pushes go; the last two are not for this spindle to serve. */
export const repositories = [
  { name: 'app', served: true },
  { name: 'web', served: true },
  { name: 'docs', served: true },
  { name: 'tools', served: true },
  { name: 'other', served: false },
  { name: 'elsewhere', served: false },
];

const served = repositories.flatMap((repo, n) => (repo.served ? [n] : []));
const others = repositories.flatMap((repo, n) => (repo.served ? [] : [n]));

/** Part of the pushes that go to repositories which are not served. */
const strangeShare = 0.08;

const branches = [
  'main',
  'main',
  'main',
  'develop',
  'release-1.2',
  'feature/login',
  'fix/issue-42',
  'a.b.c',
  'v2.x',
  'renovate/npm-@scope-left-pad-1.x',
  "it's",
  'user@host',
  'größer',
  '日本語',
  '🧶',
  'a+b=c',
  '100%',
  'q&a',
  '#7',
];

/** File names: a job is called so, byte for byte. None has a slash. */
const names = [
  'ci.yml',
  'build.yml',
  'test.yml',
  'lint.yml',
  'deploy.yaml',
  'release.v1.2.yml',
  'CI.yml',
  'lint and test.yml',
  'prüfung.yml',
  'テスト.yml',
  '🧶.yaml',
  '..ci..yml',
  "don't.yml",
  '100%.yml',
  'a&b?c=d.yml',
  '#1.yml',
  '"quoted".yml',
  'no-extension',
  '%2e%2e%2f.yml',
  'a+b.yml',
  '<b>.yml',
  'back\\slash.yml',
  ' .yml',
];

/** Kinds of files, and how many in a hundred are of each. */
const kinds: readonly [share: number, expect: PushedJob['expect'], make: (draw: Draws) => string][] = [
  [83, 'build', buildkiteFile],
  [10, 'fake', fakeFile],
  [3, 'refused', brokenFile],
  [2, 'refused', uselessFile],
  [2, 'parks', () => stringify({ tack: { buildkite: { pipeline: 'missing-pipeline' } } })],
];

/** So many pushes, the same for the same seed: half of one job, the others of two or three. */
export const pushesOf = (seed: number, count: number): PlannedPush[] =>
  Array.from({ length: count }, (_, n) => {
    const draw = draws(seed, `push ${n}`);
    const repo = draw.chance(strangeShare) ? draw.of(others) : draw.of(served);
    const jobs = draw.of([1, 1, 1, 1, 1, 2, 2, 2, 3, 3]);
    const files = new Map<string, PlannedPush['files'][number]>();
    while (files.size < jobs) {
      // Every other name is a usual one.
      const name = draw.chance(0.5) ? draw.of(names.slice(0, 5)) : draw.of(names);
      if (files.has(name)) continue;
      let left = draw.real() * 100;
      const [, expect, make] = kinds.find(([share]) => (left -= share) < 0) ?? kinds[0] ?? [];
      if (expect && make) files.set(name, { name, raw: make(draw), expect });
    }
    return { repo, branch: draw.of(branches), files: [...files.values()] };
  });

/** When pushes come, ms after the first, ascending: at random, one in eight with a few more close behind it. */
export function times(seed: number, count: number, durationMs: number): number[] {
  const draw = draws(seed, 'arrivals');
  const gaps: number[] = [];
  let burst = 0;
  while (gaps.length < count - 1) {
    // Exponential, as of many people who know nothing of each other.
    gaps.push(burst > 0 ? draw.real() * 0.05 : -Math.log(1 - draw.real()));
    burst = burst > 0 ? burst - 1 : draw.chance(0.125) ? draw.whole(2, 7) : 0;
  }
  const total = gaps.reduce((sum, gap) => sum + gap, 0) || 1;
  let at = 0;
  return [0, ...gaps.map((gap) => Math.round(((at += gap) / total) * durationMs))].slice(0, count);
}

function buildkiteFile(draw: Draws): string {
  const target = draw.of(pipelines);
  const [org, slug] = target.split('/');
  const extras = draw.of<Record<string, unknown>>([
    {},
    {},
    {},
    { org },
    { message: 'Ünïcode, "quotes", \ttabs and 🧶' },
    { env: { GREETING: 'hello', NUMBER: 7, EMPTY: '' }, meta_data: { team: 'core' } },
    { clean_checkout: true },
  ]);
  const forge = draw.chance(0.3) ? { when: [{ event: ['push'], branch: ['main'] }], engine: 'nixery' } : {};
  return stringify({ ...forge, tack: { buildkite: { pipeline: slug, ...extras } } });
}

function fakeFile(draw: Draws): string {
  const ends = ['success', 'success', 'success', 'failed', 'timeout', 'cancelled'];
  const fake = draw.of<() => Record<string, unknown>>([
    () => ({}),
    () => ({ delay: `${draw.whole(20, 1_500)}ms`, result: draw.of(ends) }),
    () => ({ delay: draw.whole(20, 800), result: [draw.of(ends), 'success'] }),
    () => ({ logs: ['one', 'two', 'drei 🧶'], result: draw.of(ends), error: 'it went wrong', exit_code: 3 }),
    () => ({
      states: [
        { state: 'running', after: draw.whole(10, 500) },
        { state: draw.of(ends), after: draw.whole(10, 1_500) },
      ],
    }),
  ])();
  return stringify({ tack: { fake } });
}

/** Not YAML, or not what a workflow file is. */
function brokenFile(draw: Draws): string {
  return draw.of([
    'tack: [',
    'tack: {buildkite: {pipeline: app}\n',
    'tack:\n\tbuildkite:\n\t\tpipeline: app\n',
    '- tack\n- buildkite\n',
    '"a text"\n',
    '',
    'tack: &a [*b]\n',
  ]);
}

/** YAML that asks for nothing that can be had. */
function uselessFile(draw: Draws): string {
  return draw.of([
    'engine: nixery\nsteps: []\n',
    'tack:\n',
    'tack:\n  jenkins: {}\n',
    'tack:\n  constructor: {}\n',
    'tack:\n  buildkite: {}\n',
    'tack:\n  buildkite:\n    pipeline: "../../etc"\n',
  ]);
}
