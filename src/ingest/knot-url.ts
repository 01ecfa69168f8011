import { isHost } from '../forges/tangled/names.ts';

/** Why this is not the name of a knot, `host` or `host:port`; undefined when it is. */
export function knotNameProblem(knot: string): string | undefined {
  if (isHost(knot)) return undefined;
  return `${JSON.stringify(knot)} is not the name of a knot: it must be host or host:port, such as knot1.tangled.sh`;
}

/**
 * Where a knot's events are. The cursor is always explicit: without one, newer knots send all that ever happened,
 * and older ones nothing (tangled core, knotserver).
 * @param cursor nanoseconds since 1970
 */
export function eventsUrl(knot: string, cursor: bigint, dev: boolean): string {
  return `${dev ? 'ws' : 'wss'}://${knot}/events?cursor=${cursor}`;
}
