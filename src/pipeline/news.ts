import { attemptOf, type Job, resolution } from './job.ts';
import { isEnd } from './status.ts';
import type { Observation } from './words.ts';

/**
 * Whether a notice says something about an ended job that it does not know yet, so that the pipeline must be opened
 * again to look. A repeated or late copy of what led to the end is no news; a build that goes on is.
 */
export function isNews(job: Job, seen: Observation): boolean {
  if (attemptOf(job, seen.build) === undefined) return false;
  const known = job.builds[seen.build];
  if (!known) return true;
  if (!isEnd(seen.status)) return isEnd(known.status);
  if (known.after !== undefined && seen.at <= known.after) return false;
  if (Math.abs(seen.at - known.at) >= resolution) return seen.at > known.at;
  const same = seen.status === known.status || known.status === 'timeout' || (seen.unsure && known.status === 'failed');
  return !same;
}
