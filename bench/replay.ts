import { fillOutbox } from './outbox.ts';
import { mb, type Outcome, perSecond, type Place, row } from './place.ts';
import { contest, startServing } from './serving.ts';

const count = 100_000;

/** `/events`: one reader that comes with a cursor from before all statuses. */
export async function replay(place: Place): Promise<Outcome> {
  const serving = await startServing(place, 'bench_replay', (sql) => fillOutbox(sql, count));
  // Not 0, which would mean from now on.
  const load = { path: '/events?cursor=1', processes: 1, readers: 1, frames: count, rounds: place.quick ? 3 : 9 };
  const { whorlMs, bareMs, firstMb, lastMb } = await contest(serving, load, (n, ours, bare) =>
    place.say(`replay ${n}: ${perSecond(count, ours)} frames/s (bare loop ${perSecond(count, bare)})`),
  );
  await serving.stop();
  return {
    figures: {
      replay_frames_per_s: Math.round((count * 1000) / whorlMs),
      floor_replay_frames_per_s: Math.round((count * 1000) / bareMs),
      replay_server_mb: [mb(firstMb), mb(lastMb)],
    },
    table: [
      row(
        '/events, 100,000 statuses replayed',
        perSecond(count, whorlMs),
        'frames/s',
        `${(bareMs / whorlMs).toFixed(2)} × (goal 0.5)`,
      ),
      row('  bare ws loop, the same frames', perSecond(count, bareMs), 'frames/s'),
      row('  the server, first and last round', `${mb(firstMb)}, ${mb(lastMb)}`, 'MB at most'),
      '  (a stock spindle of late 2025 sends 100 and waits: 5,700 frames/s, a new connection for each hundred)',
    ],
  };
}
