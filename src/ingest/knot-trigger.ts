import { type Frame, eventTime } from '../forges/tangled/frame.ts';
import { parsePipeline } from '../forges/tangled/trigger.ts';
import { shareOfPipeline } from '../pipeline/share.ts';
import type { IncomingTrigger } from '../store/intake.ts';
import type { WantedKnot } from '../store/repos.ts';
import { dateOf, isEarly } from './knot-clock.ts';

/**
 * The row for a `sh.tangled.pipeline` frame. What is older than the choice of its repo is early; for a repo that nobody
 * has chosen, the earliest choice on its knot counts. Whether it may run at all is for dispatch to say.
 */
export function toTrigger(knot: string, frame: Frame, wanted: WantedKnot | undefined, skew: number): IncomingTrigger {
  const time = eventTime(frame);
  const row = { nsid: frame.nsid, rkey: frame.rkey, share: shareOfPipeline(knot, frame.rkey) };
  const known = { ...row, ...(time === undefined ? {} : { eventAt: new Date(dateOf(time).getTime() - skew) }) };

  const chosenAt = wanted && choiceOf(frame, wanted);
  if (time !== undefined && chosenAt && isEarly(time, chosenAt, skew)) {
    const [happened, chosen] = [dateOf(time).toISOString(), chosenAt.toISOString()];
    return {
      ...known,
      state: 'early',
      reason: `before choice: it is of ${happened}, the repo was chosen at ${chosen}`,
    };
  }
  return { ...known, body: JSON.stringify(frame.event) };
}

/** The earliest of what the event may be of, so that nothing is early that counts. */
function choiceOf(frame: Frame, wanted: WantedKnot): Date {
  const parsed = parsePipeline(frame.event);
  const repo = parsed.ok ? parsed.trigger.repo : undefined;
  if (!repo) return wanted.since;
  const possible = wanted.repos.filter(
    ({ did, name, rkey, repoDid }) =>
      did === repo.did && (name === repo.name || rkey === repo.name || (repoDid !== null && repoDid === repo.repoDid)),
  );
  // those of a knot come in the order of their choice
  return possible[0]?.chosenAt ?? wanted.since;
}
