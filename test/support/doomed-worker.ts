// A worker of activities that kills itself where a test wants it to, for `doomed.ts`. It says in lines of JSON what it
// does, and starts when it is told on stdin where to die.
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { createActivities } from '../../src/activities/index.ts';
import { createLogger } from '../../src/log.ts';
import { parsePipelineId } from '../../src/pipeline/ids.ts';
import { providers } from '../../src/providers/index.ts';
import { openDatabase, type Sql } from '../../src/store/db.ts';
import { limiter } from '../../src/store/slots.ts';
import type { Doom, Said } from './doomed.ts';

const {
  DATABASE_URL = '',
  TEMPORAL_ADDRESS = '',
  NAMESPACE = '',
  TASK_QUEUE = '',
  API_URL = '',
  TOKEN = '',
} = process.env;

const dooms = new Map<string, Doom>();
/** The activity that runs: one at a time, so that a death hits no other. */
let now: { activity: string; rkey: string; steps: number } | undefined;

/** Synchronously, because nothing is flushed after SIGKILL. */
const say = (said: Said): void => void writeSync(1, `${JSON.stringify(said)}\n`);

/** The start of an activity or the end of an await, which is also the moment before the next one. */
function step(): void {
  if (!now) return;
  now.steps += 1;
  const doom = dooms.get(now.rkey);
  if (doom?.activity !== now.activity || doom.step !== now.steps) return;
  say({ killed: now.rkey });
  process.kill(process.pid, 'SIGKILL');
}

async function around<T>(work: () => PromiseLike<T>): Promise<T> {
  const result = await work();
  step();
  return result;
}

const database = openDatabase(DATABASE_URL, { max: 3, applicationName: 'doomed' });
/** What the CI said of its rate limit is stored beside an activity, every few seconds: no step of it. */
const isBeside = ([text]: TemplateStringsArray): boolean => text?.trimStart().startsWith('update budgets') ?? false;

/** A statement is sent when it is awaited; as a part of another one it never is, so it must stay what it is. */
const sql = new Proxy(database, {
  apply(target, self, args) {
    const counts = !isBeside(args[0] as TemplateStringsArray);
    const query = Reflect.apply(target, self, args) as PromiseLike<unknown>;
    const send = query.then.bind(query);
    return Object.assign(query, {
      // oxlint-disable-next-line unicorn/no-thenable -- it is a promise already
      then: (taken?: (value: unknown) => unknown, refused?: (reason: unknown) => unknown) =>
        send((value) => {
          if (counts) step();
          return taken ? taken(value) : value;
        }, refused),
    });
  },
}) as Sql;

const realFetch = globalThis.fetch;
globalThis.fetch = (...request) => around(() => realFetch(...request));

const activities = createActivities({
  sql,
  log: createLogger({ level: 'silent', format: 'json' }),
  providers: providers({
    buildkite: { apiUrl: API_URL, token: () => TOKEN, limiter: limiter(sql, { limit: 10_000, windowMs: 60_000 }) },
  }),
  withheld: () => {},
  secrets: () => [],
  maxLogBytes: 2 ** 20,
});

type Input = { pipeline: string; resend?: boolean; statuses?: unknown[] };
const watched = Object.entries(activities).map(([name, run]) => [
  name,
  async (input: Input) => {
    const resends = input.resend === true && input.statuses?.length === 0;
    const activity = resends ? 'resend' : name;
    now = { activity, rkey: parsePipelineId(input.pipeline)?.rkey ?? '', steps: 0 };
    step();
    try {
      return await run(input as never);
    } finally {
      say({ done: activity, steps: now.steps });
      now = undefined;
    }
  },
]);

Runtime.install({ logger: new DefaultLogger('ERROR'), shutdownSignals: [] });
const worker = await Worker.create({
  connection: await NativeConnection.connect({ address: TEMPORAL_ADDRESS }),
  namespace: NAMESPACE,
  taskQueue: TASK_QUEUE,
  activities: Object.fromEntries(watched),
  maxConcurrentActivityTaskExecutions: 1,
});
const told = createInterface({ input: process.stdin });
// it ends with the test that started it
told.once('close', () => process.exit(1));
told.once('line', (line) => {
  for (const [rkey, doom] of JSON.parse(line) as [string, Doom][]) dooms.set(rkey, doom);
  void worker.run();
});
say({ ready: true });
