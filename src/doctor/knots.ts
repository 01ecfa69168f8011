import { addressGuard, type Guard } from '../clients/guard.ts';
import type { ToolConfig } from '../config/index.ts';
import { eventTime, parseFrame } from '../forges/tangled/frame.ts';
import { eventsUrl, knotNameProblem } from '../ingest/knot-url.ts';
import type { Sql } from '../store/db.ts';
import { ingestProcesses, type SourceFacts, sourceFacts } from '../store/examine.ts';
import { type WantedKnot, wantedKnots } from '../store/repos.ts';
import {
  ahead,
  type Check,
  check,
  checkWith,
  fail,
  type Finding,
  lasting,
  type Need,
  need,
  ok,
  Skip,
  warn,
} from './check.ts';
import { ask, type Asked } from './ask.ts';
import { behindMs, glance } from './stream.ts';

/** Its clock is judged by every answer, and times are brought to ours; but people see the wrong ones. */
const clockMs = 5_000;
const behind = { warn: 60_000, fail: 600_000 };
const soonMs = 14 * 86_400_000;
/** An event that is there comes at once. */
const listenMs = 1_000;
/** Knots are strangers' machines, and there may be hundreds. */
const atOnce = 20;
const mostRounds = 50;

/** Each knot that a served repository lives on: reachable, right about the time, and read up to now. */
export function knotChecks(sql: Need<Sql>, config: ToolConfig): Check[] {
  return [
    // Each knot has its own deadline, and there may be several rounds of them.
    (timeoutMs) =>
      checkWith(sql, 'knots', 'see the database', (on) => list(on, config, timeoutMs))(timeoutMs * mostRounds),
  ];
}

async function list(sql: Sql, config: ToolConfig, timeoutMs: number): Promise<Finding[]> {
  const knots = await wantedKnots(sql);
  if (knots.length === 0) {
    const found = 'no repository is served yet';
    const advice = 'choose this spindle in the settings of a repository at Tangled, or pin one: `whorl repos pin`';
    return [{ name: 'knots', ...warn(found, advice) }];
  }
  const facts = await sourceFacts(
    sql,
    knots.map(({ knot }) => `knot/${knot}`),
  );
  const isRead = (await ingestProcesses(sql)) > 0;
  const findings: Finding[][] = [];
  for (let from = 0; from < knots.length; from += atOnce) {
    const some = knots.slice(from, from + atOnce).map((knot) => {
      const fact = facts.find(({ source }) => source === `knot/${knot.knot}`);
      return one(knot, isRead ? fact : undefined, config, timeoutMs);
    });
    findings.push(...(await Promise.all(some)));
  }
  return findings.flat();
}

async function one(
  { knot, pinned }: WantedKnot,
  fact: SourceFacts | undefined,
  { dev }: ToolConfig,
  timeoutMs: number,
): Promise<Finding[]> {
  const guard = addressGuard({ dev, vouched: () => pinned });
  const signal = AbortSignal.timeout(timeoutMs * 0.9);
  const answer = need(() => greet(knot, dev, guard, signal));
  const told = need(async () => {
    const asked = await answer().catch(() => undefined);
    if (!asked) throw new Skip('the knot does not answer');
    return asked;
  });
  const advice = 'see that this machine reaches it; if it is gone for good, its repositories must move or be unpinned';
  const found = await Promise.all([
    check(knot, advice, async () => reachable(await answer()))(timeoutMs),
    checkWith(told, `${knot} clock`, '', async ({ skewMs }) => clock(skewMs))(timeoutMs),
    checkWith(told, `${knot} events`, 'its /events must take WebSockets: see its reverse proxy', (asked, stop) =>
      events(knot, asked, fact, dev, guard, stop),
    )(timeoutMs),
  ]);
  return found.flat();
}

async function greet(knot: string, dev: boolean, guard: Guard, signal: AbortSignal): Promise<Asked> {
  const problem = knotNameProblem(knot);
  if (problem) throw new Error(problem);
  const asked = await ask(new URL(`${dev ? 'http' : 'https'}://${knot}/`), { signal, guard });
  if (asked.status >= 500) throw new Error(`it answers with ${asked.status}`);
  return asked;
}

function reachable({ certificateUntil, address }: Asked) {
  const at = `answers${address === undefined ? '' : ` at ${address}`}`;
  if (certificateUntil === undefined) return ok(at);
  const left = certificateUntil.getTime() - Date.now();
  const found = `${at}; its certificate is good for ${lasting(left)}`;
  return left > soonMs ? ok(found) : warn(found, 'tell whoever runs it');
}

function clock(skewMs: number | undefined) {
  if (skewMs === undefined) throw new Skip('it does not tell the time');
  const found = `its clock is ${ahead(skewMs)}`;
  if (Math.abs(skewMs) <= clockMs) return ok(found);
  return warn(found, 'if others differ as much, ours is wrong; else tell whoever runs the knot');
}

async function events(
  knot: string,
  { skewMs = 0 }: Asked,
  fact: SourceFacts | undefined,
  dev: boolean,
  guard: Guard,
  signal: AbortSignal,
) {
  const position = fact?.position ?? undefined;
  const from = position ?? BigInt(Date.now()) * 1_000_000n;
  const timeOf = (bytes: Buffer): bigint | undefined => {
    const frame = parseFrame(bytes.toString('utf8'));
    return 'problem' in frame || frame.nsid === '' ? undefined : eventTime(frame);
  };
  const seen = await glance(eventsUrl(knot, from, dev), { timeOf, position, skewMs, listenMs, signal, guard });
  if (fact === undefined) return ok('takes readers; no ingest process is alive to read it');
  if (position === undefined) return ok('takes readers; it was not read yet');
  const ms = behindMs(seen, skewMs);
  if (ms < behind.warn) return ok('takes readers, and is read up to now');
  const why = fact.error === null ? '' : ` (${fact.error})`;
  const found = `events of the last ${lasting(ms)} are not read yet${why}`;
  const advice = 'see the log of the ingest process that holds it; `whorl ingest` may be restarted at any time';
  return ms < behind.fail ? warn(found, advice) : fail(found, advice);
}
