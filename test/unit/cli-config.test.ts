import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { configCommand } from '../../src/cli/config.ts';

const identity = { WHORL_HOSTNAME: 'spindle.example.com', WHORL_OWNER_DID: 'did:plc:z72i7hdynmk6r22z27h6tvur' };

describe('whorl config', () => {
  const folder = mkdtempSync(join(tmpdir(), 'whorl-config-'));
  afterEach(() => {
    process.exitCode = undefined;
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  async function run(env: Record<string, string>, ...args: string[]) {
    const printed: string[] = [];
    await configCommand(env, (text) => printed.push(text)).parseAsync(args, { from: 'user' });
    return printed.join('\n');
  }

  test('prints each setting with its source, and nothing of a secret', async () => {
    const file = join(folder, 'hook');
    writeFileSync(file, 'hunter2-hook\n');
    const env = {
      ...identity,
      TACK_LISTEN_ADDR: ':9000',
      WHORL_BUILDKITE_TOKEN: 'hunter2-token',
      WHORL_BUILDKITE_WEBHOOK_SECRET_FILE: file,
      WHORL_DATABASE_URL: 'postgres://whorl:hunter2@h:5432/db?password=hunter2@x',
    };
    for (const args of [[], ['--json']]) {
      const text = await run(env, ...args);
      expect(text).not.toContain('hunter2');
      expect(text).toContain('postgres://whorl:••••@h:5432/db?…');
    }
    const text = await run(env);
    expect(text).toMatch(/^WHORL_HOSTNAME +environment +spindle\.example\.com$/m);
    expect(text).toMatch(/^WHORL_LISTEN_ADDR +alias TACK_LISTEN_ADDR +:9000$/m);
    expect(text).toMatch(/^WHORL_BUILDKITE_TOKEN +environment +••••$/m);
    expect(text).toMatch(/^WHORL_BUILDKITE_WEBHOOK_SECRET +file WHORL_BUILDKITE_WEBHOOK_SECRET_FILE +••••$/m);
    expect(text).toMatch(/^WHORL_HOLD_TIME +default +15m$/m);
    expect(text).toMatch(/^Warning: WHORL_BUILDKITE_ORG and /m);
    expect(process.exitCode).toBeUndefined();
  });

  test('prints all problems and ends with exit code 1 when something is wrong', async () => {
    const text = await run({ WHORL_HOSTNAME: 'http://x' }, '--for', 'worker');
    for (const name of ['WHORL_HOSTNAME', 'WHORL_OWNER_DID', 'WHORL_DATABASE_URL', 'TEMPORAL_ADDRESS']) {
      expect(text).toContain(`  ${name} `);
    }
    expect(process.exitCode).toBe(1);
  });

  test('with --json gives the problems as data', async () => {
    const report = JSON.parse(await run({}, '--json'));
    expect(report.problems.map(({ name }: { name: string }) => name)).toEqual(['WHORL_HOSTNAME', 'WHORL_OWNER_DID']);
  });
});
