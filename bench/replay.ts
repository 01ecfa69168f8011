import { fillOutbox } from './outbox.ts';
import { atLeast, mb, type Outcome, perSecond, type Place } from './place.ts';
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
    lines: [
      {
        name: '/events, 100,000 statuses replayed',
        figure: perSecond(count, whorlMs),
        unit: 'frames/s',
        floor: { name: 'bare ws loop, the same frames', figure: perSecond(count, bareMs) },
        ratio: bareMs / whorlMs,
        goal: atLeast(bareMs / whorlMs, 0.5, ' ×'),
      },
      { name: 'its server, at most in the first and last round', figure: `${mb(firstMb)}, ${mb(lastMb)}`, unit: 'MB' },
    ],
  };
}
