import { setTimeout as delay } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { shares } from '../../src/pipeline/share.ts';
import { type Fleet, fleet, type Member, type RoleName } from '../support/fleet.ts';
import { everyPipelineOnce } from '../support/once.ts';
import { buildkiteFile, type Pushed } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 180_000 });

/** Who holds which sources now, by process id. */
async function holders({ whorl }: Fleet): Promise<Map<number, string[]>> {
  const rows = await whorl.sql<{ pid: number; sources: string[] }[]>`
    select split_part(owner, ':', 2)::int as pid, array_agg(source) as sources from leases
    where owner is not null and expires_at > clock_timestamp() and source not like 'ingest/%' group by owner`;
  return new Map(rows.map(({ pid, sources }) => [pid, sources]));
}

const knotHolder = async (all: Fleet): Promise<number | undefined> =>
  [...(await holders(all))].find(([, sources]) => sources.some((source) => source.startsWith('knot/')))?.[0];

/** How dispatch's shares are spread, as in `1,1,2`. */
const spreadAs = (all: Fleet, expected: string): Promise<unknown> =>
  until(`the shares are spread as ${expected}`, async () => {
    const counts = [...(await holders(all)).values()]
      .map((sources) => sources.filter((source) => source.startsWith('dispatch/')).length)
      .filter((count) => count > 0);
    return (
      counts.reduce((sum, count) => sum + count, 0) === shares &&
      counts.toSorted((one, other) => one - other).join() === expected
    );
  });

/** Pushes, with another one every so often, until it is told to end; then all that were pushed. */
function pushing({ whorl }: Fleet, everyMs: number): () => Promise<Pushed[]> {
  const pushed: Pushed[] = [];
  let going = true;
  const run = (async () => {
    while (going) {
      pushed.push(whorl.push({ 'ci.yml': buildkiteFile() }));
      await delay(everyMs);
    }
  })();
  return async () => {
    going = false;
    await run;
    return pushed;
  };
}

const of = (all: Fleet, role: RoleName): Member[] =>
  all.members.filter((one) => one.role === role && one.child.exitCode === null && one.child.signalCode === null);

test('three processes of each role: pushes while processes come, go and are killed are built once each', async () => {
  const all = await fleet({ buildkite: { clock: 'auto', pace: 200, pipelines: ['acme/app'] } });
  for (const role of ['ingest', 'worker', 'server'] as const) {
    await Promise.all([all.start(role), all.start(role), all.start(role)]);
  }
  await spreadAs(all, '1,1,2');
  await until('the knot is read', () => knotHolder(all));
  const stop = pushing(all, 500);

  // The reader of the knot is killed: another one reads it within its lease and a little.
  const pid = await until('a reader', () => knotHolder(all));
  const killedAt = performance.now();
  all.members.find(({ child }) => child.pid === pid)?.signal('SIGKILL');
  await until('another reader of the knot', async () => ![undefined, pid].includes(await knotHolder(all)), 30_000);
  const killed = performance.now() - killedAt;
  await spreadAs(all, '2,2');

  // One that is told to go hands over at once.
  const next = await until('a reader', () => knotHolder(all));
  const leaving = all.members.find(({ child }) => child.pid === next);
  const leftAt = performance.now();
  leaving?.signal('SIGTERM');
  await until('another reader of the knot', async () => ![undefined, next].includes(await knotHolder(all)));
  const left = performance.now() - leftAt;
  await spreadAs(all, `${shares}`);

  await Promise.all([all.start('ingest'), all.start('ingest')]);
  await spreadAs(all, '1,1,2');
  of(all, 'worker')[0]?.signal('SIGKILL');
  of(all, 'server')[0]?.signal('SIGKILL');
  of(all, 'worker')[1]?.signal('SIGTERM');
  of(all, 'server')[1]?.signal('SIGTERM');
  await all.start('worker');

  const pushed = await stop();
  await everyPipelineOnce(all, pushed);
  process.stdout.write(
    `after SIGKILL ${Math.round(killed)} ms, after SIGTERM ${Math.round(left)} ms, ${pushed.length} pushes\n`,
  );
  expect(killed).toBeLessThan(15_000);
  expect(left).toBeLessThan(5_000);
  expect(await leaving?.exited()).toBe(0);
});
