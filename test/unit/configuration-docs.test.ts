import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { configurationDocs } from '../../scripts/docs.ts';
import { settings } from '../../src/config/settings.ts';

test('docs/configuration.md is what the settings say (if not: node scripts/docs.ts)', () => {
  const written = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
  expect(written).toBe(configurationDocs());
});

test('every setting is documented once', () => {
  const docs = configurationDocs();
  for (const { name } of Object.values(settings)) expect(docs.split(`| \`${name}\``)).toHaveLength(2);
});
