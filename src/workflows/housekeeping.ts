import {
  ActivityFailure,
  ApplicationFailure,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
} from '@temporalio/workflow';
import { inMarkdown } from '../pipeline/inert.ts';
import type { HouseActivities, HouseKind, Tidied } from './contract.ts';

/** In this order: what takes most room goes first. */
const kinds: Record<HouseKind, { what: string; activity: keyof HouseActivities }> = {
  logs: { what: 'logs of jobs', activity: 'tidyLogs' },
  deliveries: { what: 'contents of webhooks', activity: 'tidyDeliveries' },
  statuses: { what: 'statuses that newer ones have overtaken', activity: 'tidyStatuses' },
  quarantine: { what: 'quarantined rows and refused frames', activity: 'tidyQuarantine' },
  tokens: { what: 'tokens that have expired', activity: 'tidyTokens' },
  sources: { what: 'streams that are read no more', activity: 'tidySources' },
};
const names = Object.keys(kinds) as HouseKind[];

/** What became of each kind; a sentence where it could not be done. */
export type Housekeeping = Partial<Record<HouseKind, Tidied | string>>;

/**
 * Removes what has been kept for long enough. One kind that cannot be done keeps no other: this run then ends as failed,
 * and the next one tries again.
 */
export async function housekeeping(): Promise<Housekeeping> {
  const acts = proxyActivities<HouseActivities>({
    startToCloseTimeout: '15m',
    scheduleToCloseTimeout: '30m',
    heartbeatTimeout: '1m',
    retry: { initialInterval: '1s', backoffCoefficient: 2, maximumInterval: '30s', maximumAttempts: 8 },
  });
  const done: Housekeeping = {};
  setCurrentDetails(details(done));
  for (const kind of names) {
    const { what, activity } = kinds[kind];
    try {
      done[kind] = await acts[activity].executeWithOptions({ activityId: kind, summary: what }, []);
    } catch (error) {
      if (isCancellation(error) || !(error instanceof ActivityFailure)) throw error;
      done[kind] = error.cause?.message ?? error.message;
    }
    setCurrentDetails(details(done));
  }
  const failed = Object.entries(done).flatMap(([kind, result]) =>
    typeof result === 'string' ? [`${kind}: ${result}`] : [],
  );
  if (failed.length === 0) return done;
  throw ApplicationFailure.nonRetryable(`Not everything could be done. ${failed.join('; ')}`, 'Internal', done);
}

function details(done: Housekeeping): string {
  const rows = names.map((kind) => {
    const result = done[kind];
    const [removed, space] =
      result === undefined
        ? ['…', '…']
        : typeof result === 'string'
          ? [inMarkdown(result, 600), '']
          : [String(result.removed), megabytes(result.bytes)];
    return `| ${kinds[kind].what} | ${removed} | ${space} |`;
  });
  return ['| what | removed | what is left takes |', '|---|---|---|', ...rows].join('\n');
}

const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
