import { logLine, stepEnd, stepStart } from '../src/forges/tangled/log.ts';
import { pipelineId } from '../src/pipeline/ids.ts';
import type { Sql } from '../src/store/db.ts';
import { packEntries } from '../src/store/log-chunks.ts';
import { appendLog, completeLog, openLog } from '../src/store/logs.ts';
import { publishStatuses } from '../src/store/statuses.ts';
import { addPipelines, knot } from './outbox.ts';
import { mb, type Outcome, perSecond, type Place } from './place.ts';
import { contest, startServing } from './serving.ts';

const readers = 50;
const key = { pipeline: pipelineId(knot, 'p1'), job: 'ci.yml', attempt: 1 };

/** `/logs`: a log whose frames are 10 MB, read to its end by 50 readers at once. */
export async function logs(place: Place): Promise<Outcome> {
  const entries = entriesOf(10_000_000);
  const serving = await startServing(place, 'bench_logs', (sql) => writeLog(sql, entries));
  const load = {
    path: `/logs/${knot}/p1/ci.yml`,
    processes: 2,
    readers,
    frames: entries.length,
    rounds: place.quick ? 1 : 5,
  };
  const { whorlMs, bareMs, bytes, firstMb, lastMb } = await contest(serving, load, (n, ours, bare) =>
    place.say(`logs ${n}: ${ours.toFixed(0)} ms (bare loop ${bare.toFixed(0)}) until the last of ${readers} has all`),
  );
  await serving.stop();
  return {
    figures: {
      logs_mb_per_s: Math.round(bytes / 1e3 / whorlMs),
      floor_logs_mb_per_s: Math.round(bytes / 1e3 / bareMs),
      logs_server_mb: [mb(firstMb), mb(lastMb)],
    },
    lines: [
      {
        name: `/logs, 10 MB to ${readers} readers at once`,
        figure: perSecond(bytes / 1e6, whorlMs),
        unit: 'MB/s',
        floor: { name: 'bare ws loop, the same frames', figure: perSecond(bytes / 1e6, bareMs) },
        ratio: bareMs / whorlMs,
      },
      { name: 'its server, at most in the first and last round', figure: `${mb(firstMb)}, ${mb(lastMb)}`, unit: 'MB' },
    ],
  };
}

/** Lines as builds write them, some with colours, of one step; their frames are about so many bytes. */
function entriesOf(bytes: number): string[] {
  const at = Date.UTC(2026, 0, 10, 12);
  const step = { step: 0, name: 'Run tests', command: 'make test', at };
  const entries = [stepStart(step)];
  for (let n = 0, sum = 0; sum < bytes; n += 1) {
    const text =
      n % 4 === 0
        ? `\u001b[32m✓\u001b[0m test ${n} of the suite (${n % 97} ms)`
        : `[${n}] compiled src/part-${n % 89}/file-${n}.c into build/part-${n % 89}/file-${n}.o`;
    const entry = logLine({ step: 0, text, at: at + n });
    sum += Buffer.byteLength(entry);
    entries.push(entry);
  }
  return [...entries, stepEnd(step)];
}

/** As activities do it, a chunk for about a thousand lines. */
async function writeLog(sql: Sql, entries: string[]): Promise<void> {
  await addPipelines(sql, 1, [key.job]);
  await publishStatuses(sql, key.pipeline, [{ job: key.job, attempt: 1, epoch: 0, status: 'success' }]);
  const about = { id: 'one', name: 'Run tests', state: 'ended' as const };
  for (let from = 0; from < entries.length; from += 1000) {
    const after = await openLog(sql, key);
    if (!after) throw new Error('the log could not be made');
    const chunk = await packEntries(entries.slice(from, from + 1000));
    const step = { step: 'one', position: 0, about, place: from, done: from + 1000 >= entries.length };
    await appendLog(sql, key, { after, chunks: [chunk], bytes: chunk.bytes, steps: 1, step });
  }
  await completeLog(sql, key, 0);
}
