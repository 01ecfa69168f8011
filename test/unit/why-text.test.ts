import { expect, test } from 'vitest';
import { asText } from '../../src/cli/why-text.ts';
import { explain } from '../../src/pipeline/why.ts';
import { ago, facts, hence, id, job } from '../support/facts.ts';

const why =
  'Buildkite has no pipeline acme/made-later, or the token cannot see it: nothing of that name is in the list';
const known = facts(
  {
    jobs: [{ ...job, parked: `TargetMissing at create: ${why}` }],
  },
  {
    waits: [
      {
        cause: 'parked',
        job: 'ci.yml',
        what: `the operator (TargetMissing at create): ${why}`,
        since: ago(30_000).getTime(),
        next: null,
        limit: { at: hence(3_600_000).getTime(), what: 'the job is failed' },
        person: true,
        todo: [
          { text: 'Make what is missing at the CI, or configure the CI that is asked for.' },
          { text: 'Then, or by the update retryStep in the Temporal UI', command: `whorl retry ${id} ci.yml` },
        ],
      },
    ],
  },
);
const answer = { facts: known, why: explain(known) };
const words = (lines: string[]): string[] => lines.join(' ').split(/\s+/);

test('for a pipe and a file a sentence is a line', () => {
  const lines = asText(answer);
  expect(lines).toContain(`ci.yml waits for the operator (TargetMissing at create): ${why}`);
  expect(lines).toContain(`  to do   Then, or by the update retryStep in the Temporal UI: whorl retry ${id} ci.yml`);
});

test.each([60, 80, 120])('on a terminal of %i columns all that is said fits, and no word is lost', (width) => {
  const lines = asText(answer, width);
  expect(lines.filter((line) => line.length > width && !line.trim().startsWith('whorl '))).toEqual([]);
  expect(words(lines).toSorted()).toEqual(words(asText(answer)).toSorted());
});

test('a command is on one line, however narrow the terminal, and what goes on is under its beginning', () => {
  const lines = asText(answer, 40);
  expect(lines).toContain(`          whorl retry ${id} ci.yml`);
  expect(lines).toEqual(expect.arrayContaining(['  to do   Make what is missing at the CI,']));
  expect(lines[lines.indexOf('  to do   Make what is missing at the CI,') + 1]).toMatch(/^ {10}or configure/);
});
