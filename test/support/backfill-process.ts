// A process that lists accounts, for tests that kill, freeze and weigh it: DATABASE_URL and OPTIONS in its environment.
import { openDatabase } from '../../src/store/db.ts';
import type { ListerReport } from './backfill-child.ts';
import { type BackfillOptions, startLister } from './backfill.ts';

const { DATABASE_URL = '', OPTIONS = '' } = process.env;
const sql = openDatabase(DATABASE_URL, { max: 5 });
const lister = startLister(sql, JSON.parse(OPTIONS) as BackfillOptions);
setInterval(() => {
  const { pages, records, rounds } = lister.stats();
  const report: ListerReport = { pages, records, rounds, rss: process.memoryUsage.rss() };
  process.stdout.write(`${JSON.stringify(report)}\n`);
}, 100);
// it ends with the test that started it
process.stdin.on('end', () => process.exit(0)).resume();
