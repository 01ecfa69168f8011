import { Command } from 'commander';
import { expect, test } from 'vitest';
import { run, type Shell } from '../../src/cli/index.ts';
import { restoreCommand } from '../../src/cli/restore.ts';

async function whorl(args: string[], env: NodeJS.ProcessEnv = {}) {
  const out: string[] = [];
  const shell: Shell = { env, print: (line) => out.push(line), complain: (line) => out.push(line) };
  const code = await run(new Command('whorl').addCommand(restoreCommand(shell)), ['restore', ...args], shell);
  return { code, text: out.join('\n') };
}

test('whorl restore needs the Temporal of the roles, since that is what knows more', async () => {
  const { code, text } = await whorl(['--yes']);
  expect(code).toBe(2);
  expect(text).toContain('no Temporal is configured: set TEMPORAL_ADDRESS');
});

test.for([
  { args: ['--backup-of', 'yesterday'], says: '"yesterday" is no time in the past' },
  { args: ['--backup-of', '2999-01-01T00:00:00Z'], says: 'is no time in the past' },
  { args: ['--look-back', 'long'], says: '"long" is not a duration' },
])('whorl restore $args says what cannot be meant', async ({ args, says }) => {
  const { code, text } = await whorl(args, { TEMPORAL_ADDRESS: '127.0.0.1:1' });
  expect(code).toBe(2);
  expect(text).toContain(says);
});

test('whorl restore says which service is away, and changes nothing', async () => {
  const { code, text } = await whorl(['--yes'], {
    TEMPORAL_ADDRESS: '127.0.0.1:1',
    WHORL_DATABASE_URL: 'postgres://whorl:secret@127.0.0.1:1/whorl',
  });
  expect(code).toBe(1);
  expect(text).toContain('the database postgres://whorl:');
  expect(text).not.toContain('secret');
});
