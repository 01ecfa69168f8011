import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { Command } from 'commander';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { startBuildkite } from '../../sim/buildkite/index.ts';
import { run } from '../../src/cli/index.ts';
import { lintFile } from '../../src/cli/lint-file.ts';
import { lintCommand } from '../../src/cli/lint.ts';
import { planJob } from '../../src/pipeline/plan.ts';
import { planners } from '../../src/providers/planners.ts';

let dir: string;
beforeAll(async () => void (dir = await mkdtemp(path.join(tmpdir(), 'whorl-lint-'))));
afterAll(() => rm(dir, { recursive: true }));

const alice = 'did:plc:ewvi7nxzyoun6zhxrhs64oiz';
const configured = {
  WHORL_BUILDKITE_TOKEN: 'bkua_test',
  WHORL_BUILDKITE_ORG: 'acme',
  WHORL_BUILDKITE_WEBHOOK_SECRET: 'secret',
  WHORL_BUILDKITE_ALLOW: `${alice}/site -> acme/app`,
};

/** Runs `whorl lint` without any database. */
async function lint(args: string[], env: Record<string, string> = configured, input = '') {
  const out: string[] = [];
  const err: string[] = [];
  const shell = { env, print: (text: string) => void out.push(text), complain: (text: string) => void err.push(text) };
  const program = new Command('whorl').addCommand(lintCommand(shell, Readable.from([Buffer.from(input)])));
  const code = await run(program, ['lint', ...args], shell);
  return { code, out: out.join('\n'), err: err.join('\n') };
}

async function file(raw: string, name = 'ci.yml'): Promise<string> {
  const where = path.join(dir, name);
  await writeFile(where, raw);
  return where;
}

const good = `when:
  - event: push
    branch: main
engine: tack
tack:
  buildkite:
    pipeline: app
whorl:
  supersede: true
`;

test('a good file: where it runs, when, and that a newer push cancels it', async () => {
  const where = await file(good);
  const { code, out, err } = await lint([where, '--repo', `${alice}/site`]);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  expect(out.split('\n')).toEqual([
    where,
    '  runs at    Buildkite, pipeline acme/app',
    '  when       [{"event":"push","branch":"main"}]',
    '  supersede  yes: a newer push to the same branch cancels it',
    `  allowed    ${alice}/site may use acme/app`,
  ]);
});

test('as JSON, from standard input, with several files', async () => {
  const where = await file('tack: [');
  const { code, out, err } = await lint(['-', where, '--json'], configured, good);
  expect(code).toBe(1);
  expect(err).toBe('whorl: 1 of 2 files have errors');
  expect(JSON.parse(out)).toEqual([
    {
      file: '-',
      ok: true,
      provider: 'buildkite',
      target: { org: 'acme', pipeline: 'app' },
      when: [{ event: 'push', branch: 'main' }],
      supersede: true,
      allowed: null,
      checked: null,
      findings: [],
    },
    {
      file: where,
      ok: false,
      provider: null,
      target: null,
      when: null,
      supersede: false,
      allowed: null,
      checked: null,
      findings: [{ level: 'error', line: 1, message: expect.stringMatching(/^ci\.yml is not valid YAML/) }],
    },
  ]);
});

test.each<[string, string, string[]]>([
  ['broken YAML', 'engine: x\ntack:\n  fake: {}\n bad', ['error line 4: ']],
  ['the same key twice', 'engine: x\nengine: y\ntack: { fake: {} }', ['error line 2: ']],
  ['no tack', 'engine: x\n', ['error  ci.yml has no "tack:" block']],
  ['a CI that is not there', 'engine: x\ntack:\n  buildkit: {}\n', ['error line 3: .*Did you mean buildkite\\?']],
  ['a missing pipeline', 'engine: x\ntack:\n  buildkite:\n    org: acme\n', ['error line 3: .*pipeline is missing']],
  [
    'a wrong value deep inside',
    'engine: x\ntack:\n  buildkite:\n    pipeline: app\n    env:\n      A: b\n      LIST: [1]\n',
    ['error line 7: .*tack.buildkite.env.LIST must be'],
  ],
  [
    'a key that is not known',
    'engine: x\ntack:\n  buildkite:\n    pipeline: app\n    mesage: hello\n',
    ['warning line 5: tack.buildkite.mesage is not known, and changes nothing. Did you mean message\\?'],
  ],
  [
    'a second CI',
    'engine: x\ntack:\n  fake: {}\n  buildkite:\n    pipeline: app\n',
    ['warning line 4: tack.buildkite counts for nothing'],
  ],
  ['no engine', 'tack: { fake: {} }\n', ['warning  it has no engine']],
  [
    'a wrong key under whorl',
    'engine: x\ntack: { fake: {} }\nwhorl:\n  supercede: true\n',
    ['error line 4: .*no key “supercede”.*Did you mean supersede\\?'],
  ],
  [
    'a wrong value under whorl',
    'engine: x\ntack: { fake: {} }\nwhorl:\n  supersede: 1\n',
    ['error line 4: .*true or false'],
  ],
  [
    'two mistakes',
    'engine: x\ntack: { buildkit: {} }\nwhorl:\n  supercede: true\n',
    ['error line 2: .*Did you mean buildkite\\?', 'error line 4: .*Did you mean supersede\\?'],
  ],
  [
    'a misspelt whorl',
    'engine: x\ntack: { fake: {} }\nworl: { supersede: true }\n',
    ['warning line 3: worl is not known'],
  ],
  [
    'a push without a branch',
    'engine: x\ntack: { fake: {} }\nwhen:\n  - event: push\n',
    ['warning line 3: when: a push holds only with a branch or a tag'],
  ],
  [
    'conditions that never hold',
    'engine: x\ntack: { fake: {} }\nwhen:\n  - event: [pull_request, pushes]\n  - branch: 1\n  - main\n',
    [
      'warning line 3: condition 1 of when: there is no event pushes',
      'warning line 3: condition 1 of when: a pull request holds only',
      'warning line 3: condition 2 of when: branch must be a text',
      'warning line 3: condition 2 of when names no event',
      'warning line 3: condition 3 of when must be a mapping',
    ],
  ],
  [
    'when is no list',
    'engine: x\ntack: { fake: {} }\nwhen: { event: push }\n',
    ['warning line 3: when must be a list'],
  ],
])('%s is told with its line', async (_what, raw, told) => {
  const { code, out } = await lint([await file(raw)]);
  const lines = out.split('\n').filter((line) => /^ {2}(?:error|warning) /.test(line));
  expect(lines).toHaveLength(told.length);
  for (const [index, pattern] of told.entries())
    expect(lines[index]?.trim()).toMatch(new RegExp(pattern.replace(/^(error|warning) /, '$1 +')));
  expect(code).toBe(told.some((one) => one.startsWith('error')) ? 1 : 0);
});

test('a repository that the allow-list does not name would wait for the operator', async () => {
  const { code, out } = await lint([await file(good), '--repo', `${alice}/other`]);
  expect(code).toBe(1);
  expect(out).toContain(`error      this spindle does not let ${alice}/other use the Buildkite pipeline acme/app`);
});

test('where nothing is configured, files are looked at as if Buildkite were', async () => {
  const { code, out } = await lint([await file(good), '--repo', `${alice}/site`], {});
  expect(code).toBe(0);
  expect(out).toContain('pipeline (the spindle’s)/app');
  expect(out).toContain('warning    Buildkite is not configured here');
  expect((await lint([await file(good), '--check'], {})).err).toContain('WHORL_BUILDKITE_TOKEN');
});

test('a file that is not there, and what nobody can mean', async () => {
  const { code, out } = await lint([path.join(dir, 'missing.yml')]);
  expect(code).toBe(1);
  expect(out).toContain('it cannot be read: ENOENT');
  expect((await lint(['x.yml', '--repo', 'alice/site'])).code).toBe(2);
  expect((await lint([])).code).toBe(2);
});

test('what a file says does nothing to the terminal', async () => {
  const { out } = await lint([await file('engine: x\ntack:\n  "evil\\e[2J\\n": {}\n')]);
  expect(out).not.toMatch(/[^\P{Cc}\n]/u);
});

describe('--check', () => {
  async function ci() {
    const sim = await startBuildkite({ clock: 'manual', pipelines: ['acme/app'] });
    onTestFinished(() => sim.close());
    return {
      sim,
      env: { ...configured, WHORL_BUILDKITE_API_URL: sim.apiUrl, WHORL_BUILDKITE_TOKEN: sim.token, WHORL_DEV: 'true' },
    };
  }

  test('asks the CI, and makes no build', async () => {
    const { sim, env } = await ci();
    const { code, out } = await lint([await file(good), '--check'], env);
    expect(out).toContain('checked    the pipeline acme/app is there, and the token may make builds');
    expect(code).toBe(0);
    expect(sim.builds()).toEqual([]);
  });

  test('says what is missing', async () => {
    const { sim, env } = await ci();
    const other = await lint([await file(good.replace('pipeline: app', 'pipeline: other')), '--check'], env);
    expect(other.code).toBe(1);
    expect(other.out).toContain('error      there is no Buildkite pipeline acme/other');
    sim.revokeToken(sim.token);
    const revoked = await lint([await file(good), '--check'], env);
    expect(revoked.code).toBe(1);
    expect(revoked.out).toMatch(/error {6}.*token/);
  });
});

const hostile = fc.oneof(
  fc.string({ maxLength: 200 }),
  fc.json({ maxDepth: 4 }),
  fc
    .record({
      tack: fc.oneof(
        fc.jsonValue(),
        fc.dictionary(fc.constantFrom('buildkite', 'fake', '__proto__', 'x'), fc.jsonValue()),
      ),
      whorl: fc.jsonValue(),
      when: fc.jsonValue(),
      engine: fc.jsonValue(),
    })
    .map((value) => JSON.stringify(value)),
);

test('it says that a file is wrong exactly when dispatch would, and never throws', () => {
  const known = planners({ buildkite: { org: 'acme' } });
  fc.assert(
    fc.property(hostile, (raw) => {
      const { findings, supersede } = lintFile('ci.yml', raw, known);
      const planned = planJob('ci.yml', raw, known);
      expect(findings.some(({ level }) => level === 'error')).toBe(planned.refusal !== undefined);
      if (planned.refusal === undefined) expect(supersede).toBe(planned.supersede ?? false);
    }),
    { numRuns: 500 },
  );
});
