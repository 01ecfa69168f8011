import { fork } from 'node:child_process';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { endWithUs } from './roles.ts';

export interface Bare {
  /** Sends to whoever comes all that was given, as fast as they take it. */
  all: string;
  /** Sends to whoever is there the payload of each notice on the channel `bare`. */
  live: string;
  /** The frames for `all`. */
  give(frames: string[]): Promise<void>;
  stop(): void;
}

/** The floor of everything that is served: `ws` with nothing behind it, in a process of its own. */
export async function startBare(databaseUrl: string, dir: string): Promise<Bare> {
  const child = fork(fileURLToPath(new URL('./bare-child.ts', import.meta.url)), [databaseUrl]);
  endWithUs(child);
  const [port] = (await once(child, 'message')) as [number];
  const url = `ws://127.0.0.1:${port}`;
  return {
    all: `${url}/all`,
    live: `${url}/live`,
    async give(frames) {
      const file = path.join(dir, 'frames.json');
      await writeFile(file, JSON.stringify(frames));
      child.send(file);
      await once(child, 'message');
      await rm(file);
    },
    stop: () => child.disconnect(),
  };
}
