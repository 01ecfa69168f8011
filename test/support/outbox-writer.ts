import { once } from 'node:events';
import { pipelineId } from '../../src/pipeline/ids.ts';
import { openDatabase } from '../../src/store/db.ts';
import { publishStatuses } from '../../src/store/statuses.ts';

/**
 * A process that publishes: `node outbox-writer.ts <database url> <knot> <pipelines> <jobs> <first>`.
 * Each job of each pipeline gets pending, running and success, beginning with the pipeline number `first`.
 * Begins when it is told to on its input, and writes a line when it is ready and for each call that came back.
 */
const [url = '', knot = '', pipelines = '1', jobs = '1', first = '0'] = process.argv.slice(2);
const sql = openDatabase(url, { max: 1 });
await sql`select 1`;
process.stdout.write('ready\n');
await once(process.stdin, 'data');
process.stdin.destroy();
for (let i = 0; i < Number(pipelines); i++) {
  const pipeline = pipelineId(knot, `p${(i + Number(first)) % Number(pipelines)}`);
  for (const status of ['pending', 'running', 'success'] as const) {
    for (let job = 0; job < Number(jobs); job += 5) {
      const entries = Array.from({ length: 5 }, (_, n) => ({ job: `j${job + n}.yml`, attempt: 1, epoch: 0, status }));
      const { published } = await publishStatuses(sql, pipeline, entries);
      process.stdout.write(`${pipeline} ${status} ${published}\n`);
    }
  }
}
await sql.end();
