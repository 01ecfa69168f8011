import { cleanText, withoutColours } from '../ansi.ts';
import type { LogStep } from '../provider.ts';
import { type BuildkiteBuild, type BuildkiteJob, parseTime } from './wire.ts';

const nameLength = 120;
const commandLength = 200;

const running = new Set(['assigned', 'accepted', 'running', 'canceling', 'timing_out']);
const over = new Set([
  'passed',
  'failed',
  'finished',
  'canceled',
  'timed_out',
  'expired',
  'skipped',
  'broken',
  'waiting_failed',
  'blocked_failed',
  'unblocked_failed',
]);

/**
 * A build's jobs as steps, in the order of their making (those of one moment in Buildkite's own order); dynamic pipelines
 * and retries add more at any time. A wait without a name is no step.
 */
export function stepsOf(build: BuildkiteBuild): LogStep[] {
  const jobs = (build.jobs ?? []).filter((job) => job.type !== 'waiter' || (job.name ?? job.label));
  let last = 0;
  // Block steps do not say when they were made: as the one before them, then.
  const made = jobs.map((job) => ({ job, at: (last = parseTime(job.created_at) ?? last) }));
  const sorted = made.sort((a, b) => a.at - b.at).map(({ job }) => job);
  const retries = countRetries(sorted);
  return sorted.map((job) => stepOf(job, retries.get(job.id)));
}

/** How often what a job runs was tried before: jobs name those that replaced them. */
function countRetries(jobs: BuildkiteJob[]): Map<string, number> {
  const counts = new Map<string, number>();
  const replaced = new Map(jobs.map((job) => [job.retried_in_job_id ?? '', job.id]));
  for (const job of jobs) {
    const before = replaced.get(job.id);
    if (before !== undefined) counts.set(job.id, (counts.get(before) ?? 0) + 1);
  }
  return counts;
}

function stepOf(job: BuildkiteJob, retries: number | undefined): LogStep {
  const state = stateOf(job);
  const command = commandOf(job);
  const remark = remarkOf(job, state);
  const startedAt = parseTime(job.started_at);
  const endedAt = state === 'ended' ? parseTime(job.finished_at ?? job.unblocked_at) : undefined;
  return {
    id: job.id,
    name: nameOf(job, retries),
    ...(command === undefined ? {} : { command }),
    state,
    ...(remark === undefined ? {} : { remark }),
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(endedAt === undefined ? {} : { endedAt }),
  };
}

/** A job's name for people. Without `retries` what the job itself says of them counts. */
export function nameOf(job: BuildkiteJob, retries = job.retry_source ? (job.retries_count ?? 1) : 0): string {
  const named = [job.label, job.name, job.command?.trim().split('\n')[0], job.step_key].map((text) =>
    clean(text ?? ''),
  );
  const name = (named.find((text) => text !== '') ?? 'job').slice(0, nameLength).toWellFormed();
  const { parallel_group_index: index, parallel_group_total: total } = job;
  const part = index === undefined || total === undefined ? '' : ` (${index + 1}/${total})`;
  return `${name}${part}${retries > 0 ? ` (retry ${retries})` : ''}`;
}

/** Where a job stands. A block step runs nothing: it waits until somebody has answered. */
export function stateOf(job: BuildkiteJob): LogStep['state'] {
  const state = job.state ?? '';
  if (over.has(state) || (job.type === 'manual' && state === 'unblocked')) return 'ended';
  if (running.has(state)) return 'running';
  // Waiting in one of many ways; of a state that is not known here the times decide.
  if (job.finished_at) return 'ended';
  return job.started_at ? 'running' : 'waiting';
}

function commandOf({ command }: BuildkiteJob): string | undefined {
  const text = command?.trim() ?? '';
  return text === '' || text.length > commandLength || text.includes('\n') ? undefined : clean(text);
}

/** What is told in the place of a log that there is not, and never will be. */
function remarkOf(job: BuildkiteJob, state: LogStep['state']): string | undefined {
  const unrun = state === 'ended' && !job.started_at ? whyNot(job) : undefined;
  switch (job.type) {
    case 'waiter':
      return unrun ?? 'waits for the steps before it';
    case 'manual':
      return unrun ?? manual(job);
    case 'trigger':
      return unrun ?? triggered(job);
    default:
      return unrun;
  }
}

function whyNot(job: BuildkiteJob): string | undefined {
  switch (job.state) {
    case 'broken': {
      const reason = clean(job.broken_reason ?? '').replaceAll('_', ' ');
      return reason === '' ? 'did not run: its conditions were not met' : `did not run: ${reason}`;
    }
    case 'skipped':
      return 'was skipped';
    case 'expired':
      return 'was never picked up by an agent';
    case 'canceled':
      return 'was cancelled before it ran';
    case 'waiting_failed':
    case 'blocked_failed':
    case 'unblocked_failed':
      return 'did not run, because the build failed before';
    default:
      return undefined;
  }
}

function manual(job: BuildkiteJob): string {
  if (job.state !== 'unblocked') return 'waits until somebody unblocks it in Buildkite';
  const name = clean(job.unblocked_by?.name ?? '');
  return name === '' ? 'was unblocked' : `was unblocked by ${name}`;
}

function triggered({ triggered_build: build }: BuildkiteJob): string {
  if (!build) return 'starts a build of another pipeline';
  const number = build.number === undefined ? 'a build' : `build #${build.number}`;
  const url = clean(build.web_url ?? '');
  return `started ${number} of another pipeline${/^https?:\/\//.test(url) ? `: ${url}` : ''}`;
}

/** One line without colours. */
const clean = (text: string): string =>
  withoutColours(cleanText(text.replaceAll(/[\r\n\t]+/g, ' ')))
    .trim()
    .slice(0, 2 * commandLength)
    .toWellFormed();
