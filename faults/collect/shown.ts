import { showCommand } from '../../src/cli/show.ts';
import { run } from '../../src/cli/shell.ts';
import { pooled } from './pooled.ts';

/** What `whorl show` prints for each of these pipelines. */
export async function readShown(databaseUrl: string, pipelines: Iterable<string>): Promise<Record<string, string>> {
  const ids = [...new Set(pipelines)];
  const texts = await pooled(4, ids, async (id) => {
    const lines: string[] = [];
    const say = (line: string): void => void lines.push(line);
    const shell = { env: { WHORL_DATABASE_URL: databaseUrl }, print: say, complain: say };
    await run(showCommand(shell), [id], shell);
    return lines.join('\n');
  });
  return Object.fromEntries(ids.map((id, n) => [id, texts[n] ?? '']));
}
