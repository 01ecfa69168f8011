import type { Sql } from '../src/store/db.ts';
import { type Bare, startBare } from './bare.ts';
import { startCrowd } from './crowd.ts';
import { freshDatabase } from './outbox.ts';
import type { Place } from './place.ts';
import { memoryOf, settings, startRole } from './roles.ts';
import { median } from './stats.ts';

/** A server of Whorl and a bare one, each in a process of its own. */
export interface Serving {
  sql: Sql;
  bare: Bare;
  /** Where Whorl serves: `ws://…`. */
  url: string;
  pid: number;
  stop(): Promise<void>;
}

/** @param name of a database of its own, which `fill` fills before the server starts */
export async function startServing(
  { postgresUrl, dir }: Place,
  name: string,
  fill: (sql: Sql) => Promise<unknown>,
): Promise<Serving> {
  const { url, sql } = await freshDatabase(postgresUrl, name);
  await fill(sql);
  const [server, bare] = await Promise.all([startRole('server', settings(url)), startBare(url, dir)]);
  return {
    sql,
    bare,
    url: (server.links['server'] ?? '').replace('http', 'ws'),
    pid: server.pid,
    async stop() {
      bare.stop();
      await server.stop();
      await sql.end();
    },
  };
}

/** Medians over the rounds. Memory is the server's, in MB, at its most in a round. */
export interface Contest {
  whorlMs: number;
  bareMs: number;
  /** Of all frames for all readers. */
  bytes: number;
  firstMb: number;
  lastMb: number;
}

/**
 * Readers in processes of their own, who want all of it at once: from the bare loop and from Whorl in turn. Before the first round, which counts,
 * each of them has served it: then both are warm, and the bare loop has the very frames that Whorl sends.
 */
export async function contest(
  { bare, url, pid }: Serving,
  load: { path: string; processes: number; readers: number; frames: number; rounds: number },
  tell: (n: number, whorlMs: number, bareMs: number) => void,
): Promise<Contest> {
  const { path, processes, readers, frames, rounds } = load;
  const crowd = startCrowd(processes);
  const { kept } = await crowd.read(url + path, 1, frames, true);
  await bare.give(kept);
  for (const from of [bare.all, url + path]) await crowd.read(from, readers, frames);

  const memory = watch(pid);
  const [ours, floor]: [number[], number[]] = [[], []];
  let bytes = 0;
  for (let n = 1; n <= rounds; n += 1) {
    const loop = await crowd.read(bare.all, readers, frames);
    const whorl = await crowd.read(url + path, readers, frames);
    if (whorl.bytes !== loop.bytes) throw new Error(`Whorl sent ${whorl.bytes} bytes, the bare loop ${loop.bytes}`);
    memory.turn();
    bytes = whorl.bytes;
    ours.push(whorl.ms);
    floor.push(loop.ms);
    tell(n, whorl.ms, loop.ms);
  }
  const most = memory.stop();
  crowd.stop();
  return {
    whorlMs: median(ours),
    bareMs: median(floor),
    bytes,
    firstMb: most[0] ?? Number.NaN,
    lastMb: most[rounds - 1] ?? Number.NaN,
  };
}

/** Looks at what a process holds, and keeps the most of each turn. */
function watch(pid: number): { turn(): void; stop(): number[] } {
  const most: number[] = [];
  let turn = 0;
  const timer = setInterval(() => {
    void memoryOf(pid).then((now) => (most[turn] = Math.max(most[turn] ?? 0, now)));
  }, 25);
  return {
    turn: () => void (turn += 1),
    stop() {
      clearInterval(timer);
      return most;
    },
  };
}
