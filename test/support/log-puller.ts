// Brings logs home in a process of its own, and says in a line of JSON how much memory that took: for tests.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { MockActivityEnvironment } from '@temporalio/testing';
import { createActivities } from '../../src/activities/index.ts';
import { createLogger } from '../../src/log.ts';
import { providers } from '../../src/providers/index.ts';
import { openDatabase } from '../../src/store/db.ts';
import type { BringInput } from '../../src/workflows/contract.ts';

/** What the puller says. Memory is the process's own, in bytes. */
export interface Pulled {
  before: number;
  most: number;
  /** The longest time for which nothing else could run, ms. */
  blocked: number;
}

const { DATABASE_URL = '', API_URL = '', TOKEN = '', LOGS = '[]', MAX_LOG_BYTES = '' } = process.env;
const sql = openDatabase(DATABASE_URL, { max: 3, applicationName: 'log-puller' });
const log = createLogger({ level: 'silent', format: 'json' });
const { bring } = createActivities({
  sql,
  log,
  providers: providers({
    buildkite: {
      apiUrl: API_URL,
      token: () => TOKEN,
      limiter: { reserve: async () => new Date(0), block: async () => {} },
      log,
    },
  }),
  withheld: () => {},
  secrets: () => [TOKEN, 'another-secret-of-this-spindle'],
  maxLogBytes: Number(MAX_LOG_BYTES),
});

// The first ones warm up; the last one is measured.
const inputs = JSON.parse(LOGS) as BringInput[];
for (const input of inputs.slice(0, -1)) await new MockActivityEnvironment().run(bring, input);

const before = process.memoryUsage.rss();
let most = before;
const delay = monitorEventLoopDelay({ resolution: 5 });
delay.enable();
const sample = setInterval(() => (most = Math.max(most, process.memoryUsage.rss())), 5);
for (const input of inputs.slice(-1)) await new MockActivityEnvironment().run(bring, input);
clearInterval(sample);
delay.disable();
await sql.end();
const pulled: Pulled = { before, most, blocked: delay.max / 1e6 };
process.stdout.write(`${JSON.stringify(pulled)}\n`);
