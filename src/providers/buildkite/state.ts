import type { Status } from '../../pipeline/status.ts';
import type { Observation } from '../../pipeline/words.ts';
import { type BuildkiteBuild, type BuildkiteJob, parseTime } from './wire.ts';

/** What a build that waits at a block step is shown as. */
export const onBlockWords = ['running', 'success', 'pending'] as const;
export type OnBlock = (typeof onBlockWords)[number];

/** The meta_data key that carries `on_block`, so that a webhook can be read without the workflow file. */
export const onBlockKey = 'whorl_on_block';

const waitsForApproval = 'waiting for approval at a block step in Buildkite';

/**
 * What a build object, from REST or a webhook, says about our build; undefined for a state that nobody knows, which
 * means: keep what was known.
 *
 * Buildkite has no timed-out builds, only timed-out jobs, so a failed build without its jobs is `unsure`.
 */
export function observe(build: BuildkiteBuild): Observation | undefined {
  const verdict = judge(build);
  if (!verdict) return undefined;
  const { ended, ...rest } = verdict;
  return { build: build.id, at: ended ? (parseTime(build.finished_at) ?? 0) : 0, ...rest };
}

type Verdict = Omit<Observation, 'build' | 'at'> & { ended: boolean };

const going = (status: Status): Verdict => ({ status, ended: false });

function judge(build: BuildkiteBuild): Verdict | undefined {
  switch (build.state) {
    case 'canceling':
      return going('running');
    case 'canceled':
      return {
        status: 'cancelled',
        ended: true,
        ...(build.cancel_reason ? { error: clean(build.cancel_reason) } : {}),
      };
    case 'skipped':
      return { status: 'cancelled', ended: true, error: 'superseded by a newer build' };
    case 'not_run':
      return { status: 'success', ended: true };
    default:
  }
  // A waiting build keeps its last state, mostly `passed`, has a finish time, and comes as `build.finished`.
  if (build.blocked || build.state === 'blocked') return blocked(build);
  switch (build.state) {
    case 'creating':
    case 'scheduled':
    case 'waiting':
      return going('pending');
    case 'running':
    case 'started':
    case 'failing':
      return going('running');
    case 'passed':
      return { status: 'success', ended: true };
    case 'failed':
      return failed(build.jobs);
    // Listed by the REST documentation and never seen: a wait after a failure, over once there is a finish time.
    case 'waiting_failed':
      return build.finished_at ? failed(build.jobs) : going('running');
    default:
      return undefined;
  }
}

function blocked(build: BuildkiteBuild): Verdict {
  if (build.blocked_state === 'failed') return { status: 'failed', ended: false, error: waitsForApproval };
  const wanted = build.meta_data[onBlockKey];
  const status = onBlockWords.find((word) => word === wanted) ?? 'running';
  return status === 'success' ? going(status) : { ...going(status), error: waitsForApproval };
}

const timeouts = new Set(['timed_out', 'expired']);
const failures = new Set(['failed', 'timed_out', 'expired']);

function failed(jobs: BuildkiteJob[] | undefined): Verdict {
  if (!jobs) return { status: 'failed', ended: true, unsure: true };
  // A retried job has a successor that decides, and a soft failure decides nothing.
  const deciding = jobs.filter((job) => failures.has(job.state ?? '') && !job.soft_failed && !job.retried);
  const [first] = deciding;
  if (!first) return { status: 'failed', ended: true };
  const timeout = deciding.every((job) => timeouts.has(job.state ?? ''));
  return {
    status: timeout ? 'timeout' : 'failed',
    ended: true,
    error: reasonOf(first),
    ...(first.exit_status === undefined ? {} : { exitCode: first.exit_status }),
  };
}

function reasonOf(job: BuildkiteJob): string {
  const name = job.name ? `“${clean(job.name)}”` : 'a job';
  if (job.state === 'timed_out') return `${name} ran into its time limit`;
  if (job.state === 'expired') return `${name} was never picked up by an agent`;
  if (job.exit_status === -1) return `${name} lost its agent`;
  return job.exit_status === undefined ? `${name} failed` : `${name} failed with exit status ${job.exit_status}`;
}

/** One line of bearable length, without half a character where it is cut: it is shown next to the status. */
const clean = (text: string): string =>
  text
    .replaceAll(/\p{Cc}+/gu, ' ')
    .trim()
    .slice(0, 200)
    .toWellFormed();
