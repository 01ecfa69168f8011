// An ingest process that reads a jetstream, for tests that kill it: DATABASE_URL, TTL_MS, URLS, OWNER and HOST.
import { openDatabase } from '../../src/store/db.ts';
import { startJetstreamIngest } from './jetstream.ts';

const { DATABASE_URL = '', TTL_MS = '', URLS = '', OWNER = '', HOST = '' } = process.env;
const sql = openDatabase(DATABASE_URL, { max: 3 });
await startJetstreamIngest(sql, { urls: URLS.split(','), owner: OWNER, host: HOST, ttlMs: Number(TTL_MS) });
// it ends with the test that started it
process.stdin.on('end', () => process.exit(0)).resume();
