import path from 'node:path';
import { expect, inject } from 'vitest';
import { gather, type Sources } from '../../faults/collect/gather.ts';
import { judge } from '../../faults/check/index.ts';
import type { Evidence, Frame, Push, PushedJob, SentDelivery, Verdict } from '../../faults/evidence.ts';
import { frameOf } from '../../faults/sims/readers/frame.ts';
import { type Pushed, repo, secret, type Spindle, spindle, type SpindleOptions } from './spindle.ts';
import { until } from './until.ts';

/** A spindle in this process, with somebody who writes down what the outside world sees of it. */
export interface Witness {
  whorl: Spindle;
  forged: SentDelivery[];
  /** Pushes files, each with what it must lead to. `served: false`: of a repository that nobody has chosen. */
  push(
    files: Record<string, { raw: string; expect: PushedJob['expect'] }>,
    served?: boolean,
    more?: Record<string, unknown>,
  ): Pushed;
  /** Waits until all that was published has come to the reader, and gathers everything. */
  evidence(more?: Partial<Sources>): Promise<Evidence>;
}

export const strangers = { did: 'did:plc:z72i7hdynmk6r22z27h6tvur', name: 'not-chosen' };

export async function witness(options: SpindleOptions = {}): Promise<Witness> {
  const frames: Frame[] = [];
  const pushes: Push[] = [];
  const forged: SentDelivery[] = [];
  const whorl: Spindle = await spindle({
    shared: true,
    ...options,
    env: { WHORL_HOLD_TIME: '1s', ...options.env },
    appview: {
      reopenings: true,
      onFrame: (_outcome, text) => void frames.push({ ...frameOf('faithful', text), connection: links() }),
      ...options.appview,
    },
  });
  const links = (): number => whorl.appview.dials.length;
  const { ci, knot, sql, client, databaseUrl } = whorl;

  return {
    whorl,
    forged,
    push(files, served = true, more = {}) {
      const raw = Object.fromEntries(Object.entries(files).map(([name, file]) => [name, file.raw]));
      const of = served ? repo : strangers;
      const pushed = whorl.push(raw, { repo: of, ...more });
      const jobs = Object.entries(files).map(([name, { expect }]) => ({ name, expect }));
      const about = { knot: knot.host, rkey: pushed.rkey, did: of.did, repo: of.name, commit: pushed.sha };
      pushes.push({ ...about, at: Date.now(), served, jobs });
      return pushed;
    },
    async evidence(more = {}) {
      await until('every status that was sent has come to the reader', async () => {
        const sent = await sql<{ rkey: string }[]>`select rkey from statuses where state = 'sent'`;
        const due = await sql`select from statuses where state = 'due'`;
        return due.length === 0 && sent.every(({ rkey }) => frames.some((frame) => frame.rkey === rkey));
      }).catch(() => {});
      const asked = await sql<Evidence['asked']>`
        select id, kind, pipeline, job, (extract(epoch from received_at) * 1000)::float8 as at from commands
        where by = 'tester'`;
      const deliveries = ci.deliveries.map(({ body: _body, headers: _headers, ...one }) => ({ ...one, forged: false }));
      return gather(
        {
          seed: 1,
          faultsEndedAt: Date.now(),
          quietAt: Date.now(),
          pushes,
          books: knot.history.flatMap(({ nsid, rkey }) =>
            nsid === 'sh.tangled.pipeline' ? [{ knot: knot.host, rkey }] : [],
          ),
          ci: {
            user: ci.user.id,
            requests: structuredClone([...ci.requests]),
            builds: ci.builds(),
            deliveries: [...deliveries, ...forged],
          },
          frames: [...frames],
          logReads: [],
          asked: [...asked],
          disturbances: [],
          crashes: [],
        },
        {
          sql,
          databaseUrl,
          client,
          // Another test's knot may have had the port before.
          query: `Knot = '${knot.host}' and TaskQueue = '${whorl.config.taskQueue}'`,
          code: { workflowBundle: { codePath: inject('workflowBundlePath') } },
          recorded: [path.join(import.meta.dirname, '../histories/0.2.0/one-job.json')],
          secrets: [
            { name: 'the token', value: ci.token },
            { name: 'the webhook secret', value: secret },
            { name: 'a planted secret', value: planted },
          ],
          ...more,
        },
      );
    },
  };
}

/** Stands for whatever must not be seen. */
export const planted = 'planted-"secret"/5bd0f4c1e9a7';

/** Judges; these invariants, and no others, must be broken. Gives what was said. */
export function breaks(evidence: Evidence, ...invariants: number[]): { said: string; verdicts: Verdict[] } {
  const verdicts = judge(evidence);
  const said = verdicts.flatMap(({ counterexamples }) => counterexamples).join('\n');
  const broken = verdicts.filter(({ kept }) => !kept).map(({ invariant }) => invariant);
  expect(broken, said).toEqual(invariants);
  return { said, verdicts };
}
