import type { Build, RequestRecord } from '../../sim/buildkite/index.ts';
import type { Disturbance, Evidence } from '../evidence.ts';

/** A disturbance is written down a moment after it acted, or a moment before. */
const slackMs = 1_000;

/**
 * Why there may have been a second POST for a run: the CI's answer to an earlier one was lost, late or an error, or
 * something was done meanwhile to what makes builds. Undefined: there was no reason.
 */
export function excuseFor(evidence: Evidence, tag: string, first: Build, second: Build): string | undefined {
  const asked = evidence.ci.requests.find(({ route, build }) => route === 'create' && build?.id === second.id);
  const troubled = evidence.ci.requests.find(
    (request) => isCreateOf(request, tag) && request.n < (asked?.n ?? Infinity) && wasTroubled(request),
  );
  if (troubled) return `the answer to the POST of request ${troubled.n} was ${troubleOf(troubled)}`;
  const disturbance = evidence.disturbances.find(
    (one) => touchesCreates(one) && one.from <= second.createdAt + slackMs && one.to >= first.createdAt - slackMs,
  );
  return disturbance && `${disturbance.fault} of ${disturbance.target} meanwhile`;
}

function isCreateOf({ route, body }: RequestRecord, tag: string): boolean {
  if (route !== 'create' || typeof body !== 'object' || body === null || !('meta_data' in body)) return false;
  const { meta_data: meta } = body;
  return typeof meta === 'object' && meta !== null && 'whorl_run' in meta && meta.whorl_run === tag;
}

/** A fault that left an answer as it is has changed when it came. */
const wasTroubled = ({ lost, status, fault }: RequestRecord): boolean =>
  lost || status === null || status >= 500 || (status < 300 && fault !== null);

const troubleOf = ({ lost, status, fault }: RequestRecord): string =>
  fault ?? (lost ? 'lost' : status === null ? 'never sent' : String(status));

/** Workers make builds, with the help of PostgreSQL and Temporal; what the CI itself did to a request is in its records. */
const touchesCreates = ({ target }: Disturbance): boolean => /^(?:worker|postgres|temporal)/i.test(target);
