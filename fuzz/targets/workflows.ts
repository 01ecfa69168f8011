import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { planJob, planJobs } from '../../src/pipeline/plan.ts';
import { parseTarget } from '../../src/providers/buildkite/plan.ts';
import { targetShape } from '../../src/providers/fake/state.ts';
import { planners } from '../../src/providers/planners.ts';
import { changedBytes } from '../inputs/bytes.ts';
import { expect, type Target } from '../target.ts';
import { yamlBombs, yamlFiles, yamlWords } from './workflow-samples.ts';

const known = planners({ buildkite: { org: 'acme' } });
const lonely = planners({ buildkite: {} });

export const workflowsTarget: Target = {
  name: 'workflow-files',
  about: 'workflow files: YAML, which CI, with what',
  weight: 5,
  inputs: fc.oneof(
    {
      weight: 300,
      arbitrary: changedBytes(
        yamlFiles.map((each) => Buffer.from(each)),
        { words: yamlWords, most: 4_096 },
      ),
    },
    {
      weight: 1,
      arbitrary: changedBytes(
        yamlBombs.map((each) => Buffer.from(each)),
        { words: yamlWords, most: 300_000 },
      ),
    },
  ),
  run(input) {
    const raw = input.toString('utf8');
    const job = planJob('ci.yml', raw, known);
    if (job.refusal !== undefined) {
      expect(job.target === undefined && job.refusal !== '', () => 'a refusal with a target');
      expect(job.refusal.length <= 502, () => `a refusal of ${job.refusal.length} characters`);
      return;
    }
    expect(
      isDeepStrictEqual(JSON.parse(JSON.stringify(job.target)), job.target),
      () => 'a target that JSON cannot say',
    );
    if (job.provider === 'buildkite') {
      expect(isDeepStrictEqual(parseTarget(job.target), job.target), () => `lost: ${JSON.stringify(job.target)}`);
    } else {
      expect(targetShape.safeParse(job.target).success, () => `lost: ${JSON.stringify(job.target)}`);
    }
    const [twin] = planJobs(
      {
        knot: 'k',
        rkey: 'r',
        kind: 'push',
        repo: { did: 'd', name: 'n' },
        commit: 'c',
        branch: 'b',
        workflows: [{ name: raw, raw }],
      },
      lonely,
    );
    expect(twin?.name === raw, () => 'a job has another name than its file');
  },
};
