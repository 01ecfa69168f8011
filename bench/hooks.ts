import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { freshDatabase } from './outbox.ts';
import { endWithUs } from './roles.ts';

/** The floor of webhooks: a route in a process of its own that inserts what comes and answers. */
export async function startHooks(postgresUrl: string): Promise<{ url: string; stop(): void }> {
  const { url, sql } = await freshDatabase(postgresUrl, 'bench_hooks');
  await sql.end();
  const child = fork(fileURLToPath(new URL('./hooks-child.ts', import.meta.url)), [url]);
  endWithUs(child);
  const [port] = (await once(child, 'message')) as [number];
  return { url: `http://127.0.0.1:${port}/`, stop: () => child.disconnect() };
}
