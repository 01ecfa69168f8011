// An ingest process for tests that kill and freeze it: DATABASE_URL, OWNER and TTL_MS in its environment.
import { openDatabase } from '../../src/store/db.ts';
import { startKnotIngest } from './ingest.ts';

const { DATABASE_URL = '', OWNER = '', TTL_MS = '' } = process.env;
const sql = openDatabase(DATABASE_URL, { max: 3 });
const ingest = startKnotIngest(sql, { owner: OWNER, ttlMs: Number(TTL_MS) });
const end = async (): Promise<void> => {
  await ingest.stop();
  await sql.end();
  process.exit(0);
};
process.once('SIGTERM', () => void end());
// it ends with the test that started it
process.stdin.on('end', () => process.exit(0)).resume();
