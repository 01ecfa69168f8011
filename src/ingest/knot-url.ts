/** host name or IPv4, or IPv6 in brackets, with or without a port; nothing that could lead elsewhere */
const HOST = /^(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::(\d{1,5}))?$/i;

/** Why this is not the name of a knot, `host` or `host:port`; undefined when it is. */
export function knotNameProblem(knot: string): string | undefined {
  const match = HOST.exec(knot);
  const port = match?.[1] === undefined ? 1 : Number(match[1]);
  if (match && port >= 1 && port <= 65_535 && URL.canParse(`wss://${knot}/`)) return undefined;
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
