import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));

function setup(env: NodeJS.ProcessEnv): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [path.join(root, 'scripts/setup.mjs')], { env }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, output: stdout + stderr });
    });
  });
}

test('a second set-up only looks, and takes less than 3 s', async () => {
  const began = performance.now();
  const { code, output } = await setup(process.env);
  expect({ code, output }).toMatchObject({ code: 0, output: expect.stringMatching(/^setup: Temporal \d+\.\d+\.\d+/) });
  expect(performance.now() - began).toBeLessThan(3_000);
});

test('where no Temporal can be had, set-up names the four ways to one', async () => {
  const empty = await mkdtemp(path.join(tmpdir(), 'whorl-test-'));
  try {
    // No way out, no Go, no cache.
    const proxy = 'http://127.0.0.1:9';
    const { code, output } = await setup({ PATH: empty, HOME: empty, HTTPS_PROXY: proxy, https_proxy: proxy });
    expect(code).toBe(1);
    expect(output).toContain("Temporal's own download: ");
    expect(output).toContain('a build with Go: there is no Go here');
    expect(output).toMatch(/1\. .* in PATH\n.*2\. .*WHORL_TEMPORAL_CLI.*\n.*3\. .*download.*\n.*4\. .*Go 1\.26/);
  } finally {
    await rm(empty, { recursive: true, force: true });
  }
});

test('the lock has an entry for every platform, so that npm ci works on all of them', async () => {
  type Entry = { version: string; optionalDependencies?: Record<string, string> };
  const lock = JSON.parse(await readFile(path.join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, Entry>;
  };
  const missing = Object.entries(lock.packages).flatMap(([where, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter(
      (name) => !(`${where}/node_modules/${name}` in lock.packages) && !(`node_modules/${name}` in lock.packages),
    ),
  );
  expect(missing).toEqual([]);
});

test('no version in package.json is a range', async () => {
  const manifest = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
    devDependencies: Record<string, string>;
  };
  const versions = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies });
  expect(versions.filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))).toEqual([]);
});
