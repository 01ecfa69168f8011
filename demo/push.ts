import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Outcome } from '../sim/appview/book.ts';
import type { Build, Delivery, RequestRecord } from '../sim/buildkite/index.ts';
import type { Step } from './table.ts';
import type { Watch, World } from './world.ts';

export const jobs = ['ci.yml', 'lint.yml'];
const ends = ['success', 'failed', 'timeout', 'cancelled'];

/** What became of a push. `timeout`: not everything ended within the limit. */
export interface Result {
  pipeline: string;
  status: string;
  jobs: Record<string, string>;
  /** From the push to the last job's last status, as the appview read it. */
  ms: number;
}

/** One push and what follows it, as the parts themselves tell: the CI its requests and webhooks, the appview its statuses. */
export interface Run {
  title: string;
  pipeline: string;
  rkey: string;
  steps: Step[];
  /** Addresses of the builds, by job. */
  builds: Record<string, string>;
  startedAt: number;
  done: Promise<Result>;
}

export interface Follower extends Watch {
  /** Pushes and follows. `onStep` is called for each step as it happens. */
  push(world: World, onStep: (step: Step) => void, limitMs: number): Promise<Run>;
}

/** Tells the steps of the latest push from everything that the simulators see. */
export function follower(): Follower {
  let watch: Watch | undefined;
  return {
    request: (request) => watch?.request(request),
    delivery: (delivery) => watch?.delivery(delivery),
    frame: (outcome) => watch?.frame(outcome),

    async push(world, onStep, limitMs) {
      const workflows = await Promise.all(
        jobs.map(async (name) => ({
          name,
          raw: await readFile(new URL(`workflows/${name}`, import.meta.url), 'utf8'),
        })),
      );
      const startedAt = Date.now();
      const jobOf = new Map<string, string>();
      const ended = Promise.withResolvers<void>();
      const status: Record<string, string> = {};
      const steps: Step[] = [];
      const builds: Record<string, string> = {};
      /** A build that somebody rebuilt has no address in its meta_data. */
      const jobNamed = ({ id, metaData, rebuiltFrom }: Build): string | undefined => {
        const job = metaData['tack:workflow'] ?? jobOf.get(rebuiltFrom?.id ?? '');
        if (job) jobOf.set(id, job);
        return job;
      };
      let over = false;
      const add = (step: Omit<Step, 'ms'>, at = Date.now()): void => {
        const same = (other: Step): boolean =>
          other.stage === step.stage && other.what === step.what && other.job === step.job;
        // Once the run is over, what happens is what somebody does at the CI, and may happen again.
        if (!over && steps.some(same)) return;
        const dated = { ...step, ms: Math.round(at - startedAt) };
        steps.push(dated);
        onStep(dated);
      };

      watch = {
        request({ route, build, at }: Readonly<RequestRecord>) {
          if (route !== 'create' || !build) return;
          const job = jobNamed(world.ci.build(build.id));
          if (!job) return;
          builds[job] = `${world.ci.url}/${build.org}/${build.pipeline}/builds/${build.number}`;
          add({ stage: 'build', what: 'created', job }, at);
        },
        delivery({ event, build, status: answer, error }: Readonly<Delivery>) {
          const job = build && jobNamed(world.ci.build(build.id));
          if (!job) return;
          const why = answer === 200 ? {} : { why: `the webhook was answered with ${answer ?? error ?? 'nothing'}` };
          add({ stage: 'webhook', what: event, job, ...why });
        },
        frame(outcome: Outcome) {
          if (outcome.kind !== 'stored' || outcome.rkey !== rkey) return;
          const { job, entry } = outcome;
          // A status is sent once more after 45 s.
          if (over && status[job] === entry.status) return;
          status[job] = entry.status;
          add({ stage: 'status', what: entry.status, job, ...(entry.error === undefined ? {} : { why: entry.error }) });
          if (jobs.every((name) => ends.includes(status[name] ?? ''))) ended.resolve();
        },
      };

      const { rkey, sha } = world.knot.push({ repo: world.repo, workflows });
      const pipeline = `pipeline/${world.knot.host}/${rkey}`;
      const giveUp = new AbortController();
      const watching = followIntake(world, rkey, pipeline, add, giveUp.signal);
      // It matters only to the wait below, which may come long after.
      watching.catch(() => {});
      const late = delay(limitMs, 'late' as const, { signal: giveUp.signal });
      const done = (async (): Promise<Result> => {
        try {
          const how = await Promise.race([ended.promise, late, world.failed]);
          const ms = Math.max(...steps.map((step) => step.ms), 0);
          await Promise.race([watching, delay(1_000)]);
          over = true;
          return { pipeline, status: how === 'late' ? 'timeout' : overall(status), jobs: { ...status }, ms };
        } finally {
          giveUp.abort();
          late.catch(() => {});
          await watching.catch(() => {});
        }
      })();
      return { title: `push main @ ${sha.slice(0, 7)}`, pipeline, rkey, steps, builds, startedAt, done };
    },
  };
}

/** Until the workflow runs, the inbox tells what happens; it is asked, because what it tells has its own times. */
async function followIntake(
  { sql, client }: World,
  rkey: string,
  pipeline: string,
  add: (step: Omit<Step, 'ms'>, at?: number) => void,
  signal: AbortSignal,
): Promise<void> {
  for (; !signal.aborted; await delay(20)) {
    const [row] = await sql<{ state: string; reason: string | null; receivedAt: Date }[]>`
      select state, reason, received_at as "receivedAt" from triggers where rkey = ${rkey} and nsid = 'sh.tangled.pipeline'`;
    if (!row) continue;
    add({ stage: 'trigger', what: 'stored' }, row.receivedAt.getTime());
    if (row.state === 'new') continue;
    if (row.state !== 'started')
      return add({ stage: 'trigger', what: row.state, ...(row.reason === null ? {} : { why: row.reason }) });
    const { startTime } = await client.workflow.getHandle(pipeline).describe();
    return add({ stage: 'workflow', what: 'started' }, startTime.getTime());
  }
}

const overall = (status: Record<string, string>): string =>
  jobs.map((job) => status[job] ?? 'unknown').find((one) => one !== 'success') ?? 'success';
