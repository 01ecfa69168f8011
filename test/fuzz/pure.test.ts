import { expect, test } from 'vitest';
import { describeFinding, type Finding } from '../../fuzz/finding.ts';
import { shareOut } from '../../fuzz/jobs.ts';
import { pureTargets } from '../../fuzz/targets/index.ts';
import { runJobs } from '../../fuzz/thread.ts';

test('no parser throws, hangs, or changes what all objects have in common, whatever it is fed with', async () => {
  const found: Finding[] = [];
  const done = new Map<string, number>();
  await runJobs({
    jobs: shareOut(pureTargets, 10_000, 20_261_121),
    hangMs: 20_000,
    onFinding: (finding) => void found.push(finding),
    onDone: (job, runs) => void done.set(job.target, (done.get(job.target) ?? 0) + runs),
  });
  expect(found.map((finding) => describeFinding(finding, '(the input above)'))).toEqual([]);
  expect([...done.keys()].toSorted()).toEqual(pureTargets.map(({ name }) => name).toSorted());
  expect([...done.values()].every((runs) => runs > 100)).toBe(true);
}, 120_000);
