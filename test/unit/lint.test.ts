import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { refusal } from '../../scripts/import-directions.mjs';

const fixtures = fileURLToPath(new URL('../fixtures/lint/', import.meta.url));
const oxlint = fileURLToPath(new URL('../../node_modules/.bin/oxlint', import.meta.url));

/** Rules by file, as the linter finds them in a small copy of our tree, with our configuration. */
async function findings(): Promise<Record<string, string[]>> {
  const output = await new Promise<string>((resolve) => {
    execFile(
      oxlint,
      ['-c', 'lint.json', '--type-aware', '--format', 'json', '.'],
      { cwd: fixtures },
      (_error, stdout) => resolve(stdout),
    );
  });
  const { diagnostics } = JSON.parse(output) as { diagnostics: { filename: string; code: string }[] };
  const found: Record<string, string[]> = {};
  for (const { filename, code } of diagnostics) (found[filename] ??= []).push(code);
  return found;
}

test('every wrong import and every floating promise fails the lint, and nothing that is right does', async () => {
  const found = await findings();
  const other: Record<string, string> = {
    'src/activities/wrong-floating.ts': 'typescript(no-floating-promises)',
    'src/activities/wrong-misused.ts': 'typescript(no-misused-promises)',
    'src/store/wrong-any.ts': 'typescript(no-explicit-any)',
  };
  const files = (await readdir(fixtures, { recursive: true })).filter((file) => file.endsWith('.ts'));
  const wrong = files.filter((file) => /\/wrong[-/]/.test(file));
  const expected = wrong.map((file) => [file, [other[file] ?? 'whorl(import-directions)']]);
  expect(found).toEqual(Object.fromEntries(expected));
  expect(wrong.length).toBeGreaterThan(20);
});

test.each([
  ['src/pipeline/plan.ts', './job.ts', false, undefined],
  ['src/pipeline/plan.ts', 'yaml', false, undefined],
  ['src/pipeline/plan.ts', 'zod', true, undefined],
  ['src/ingest/dispatch.ts', '../workflows/messages.ts', true, undefined],
  ['src/ingest/dispatch.ts', '../workflows/messages.ts', false, 'use import type'],
  ['src/ingest/webhooks.ts', '../providers/webhooks.ts', false, undefined],
  ['src/server/logs.ts', '../../test/support/wait.ts', true, 'src may not import test/'],
  ['test/unit/x.test.ts', '../../src/main.ts', false, 'nobody imports src/main.ts'],
  ['test/unit/x.test.ts', '../../src/store/db.ts', false, undefined],
  ['src/main.ts', './cli/up.ts', false, undefined],
  ['src/config.ts', './roles/worker.ts', false, 'wiring points one way'],
])('%s → %s (types only: %s)', (from, specifier, typeOnly, expected) => {
  const reason = refusal(from, specifier, typeOnly);
  if (expected === undefined) expect(reason).toBeUndefined();
  else expect(reason).toContain(expected);
});
