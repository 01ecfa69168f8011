import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createNetwork, startJetstream, startPds, startPlc } from '../sim/atproto/index.ts';
import { startPostgres } from '../src/embedded/postgres.ts';
import { startTemporal } from '../src/embedded/temporal.ts';
import { callsAt } from './calls.ts';
import { atMost, type Outcome, type Place } from './place.ts';
import { startWhorl } from './whorl.ts';

/**
 * What a spindle costs that has nothing to do: one process for each role, one knot, one reader of `/events`, a network
 * with a member, and all durations as in production. Statements are counted in the log of a PostgreSQL of its own,
 * by the name that each role gives itself; calls of Temporal by its own counters.
 */
export async function idle(place: Place): Promise<Outcome> {
  const { say, dir, quick } = place;
  const [settleMs, forMs] = quick ? [15_000, 40_000] : [30_000, 120_000];
  const postgres = await startPostgres({
    dir: path.join(dir, 'postgres-idle'),
    flags: { log_statement: 'all', log_line_prefix: '%a: ' },
    log: say,
  });
  const temporal = await startTemporal({ dbFile: path.join(dir, 'temporal-idle.db'), log: say });
  const network = await startNetwork();
  const whorl = await startWhorl(
    { ...place, postgresUrl: postgres.url },
    { name: 'bench_idle', temporal: temporal.address, paceMs: 1_000, env: network.env },
  );
  // One pipeline, so that all is open that opens at the first use.
  await whorl.ended(whorl.push(1));
  say(`idle: settling for ${settleMs / 1000} s, then counting for ${forMs / 1000} s`);
  await delay(settleMs);

  const look = async () => ({
    statements: await statementsIn(postgres.logFile),
    calls: await callsAt(temporal.metricsUrl),
    requests: whorl.ci.requests.length,
  });
  const before = await look();
  await delay(forMs);
  const after = await look();
  await whorl.stop();
  await network.close();
  await temporal.stop();
  await postgres.stop();

  const perMinute = (count: number): number => Math.round((count * 60_000 * 10) / forMs) / 10;
  const since = (now: ReadonlyMap<string, number>, then: ReadonlyMap<string, number>): Record<string, number> =>
    Object.fromEntries([...now].map(([name, count]) => [name, perMinute(count - (then.get(name) ?? 0))]));
  const byRole = since(after.statements, before.statements);
  const byOperation = since(after.calls.by, before.calls.by);
  say(`idle, a minute: statements ${JSON.stringify(byRole)}, calls of Temporal ${JSON.stringify(byOperation)}`);
  const statements = Object.values(byRole).reduce((sum, count) => sum + count, 0);
  const calls = perMinute(after.calls.all - before.calls.all);
  const requests = after.requests - before.requests;
  return {
    figures: {
      idle_statements_per_minute: statements,
      idle_statements_by_role: byRole,
      idle_temporal_calls_per_minute: calls,
      idle_temporal_calls_by_operation: byOperation,
      idle_ci_requests: requests,
    },
    lines: [
      {
        name: 'an idle spindle: statements',
        figure: statements.toFixed(0),
        unit: 'a minute',
        goal: { text: '< 60', met: statements < 60 },
      },
      {
        name: 'an idle spindle: calls of Temporal, most of them long polls',
        figure: calls.toFixed(0),
        unit: 'a minute',
      },
      {
        name: 'an idle spindle: requests to the CI',
        figure: String(requests * Math.round(3_600_000 / forMs)),
        unit: 'an hour',
        goal: atMost(requests, 0),
      },
    ],
  };
}

/** Statements by who made them. */
async function statementsIn(logFile: string): Promise<Map<string, number>> {
  const by = new Map<string, number>();
  const text = await readFile(logFile, 'utf8');
  for (const [, role = ''] of text.matchAll(/^whorl-(\w+): LOG: {2}(?:execute|statement)/gm))
    by.set(role, (by.get(role) ?? 0) + 1);
  return by;
}

/** A network of which the spindle's owner has a member, who has a repository elsewhere. */
async function startNetwork() {
  const network = createNetwork();
  const [pds, plc, jetstream] = [await startPds(network), await startPlc(network), await startJetstream(network)];
  const [owner, member] = [network.account(), network.account()];
  network.invite(owner.did, member.did, 'spindle.example');
  network.repo(member.did, { knot: 'knot.example', name: 'elsewhere', spindle: 'another.example' });
  return {
    env: { WHORL_JETSTREAM_URL: jetstream.url, WHORL_PLC_URL: plc.url, WHORL_OWNER_DID: owner.did },
    close: async () => void (await Promise.all([pds, plc, jetstream].map((server) => server.close()))),
  };
}
