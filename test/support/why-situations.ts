import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { expect } from 'vitest';
import { answer, lose, loseAnswer, rateLimited } from '../../sim/buildkite/index.ts';
import { byHand, createOf, newSha, send, webhookOf } from './ci.ts';
import { buildOf, failingActivity, isBound } from './pipelines.ts';
import { buildkiteFile, type Pushed, type Spindle, type SpindleOptions } from './spindle.ts';
import { until } from './until.ts';

export const files = { 'ci.yml': buildkiteFile() };

/** A situation that somebody asks about, and what the true answer has to say. */
export interface Situation {
  what: string;
  /** Of a spindle of its own; default: the shared one. */
  own?: SpindleOptions;
  /** Makes it so, and gives what a person would type, and perhaps other settings of the one who asks. */
  plant(whorl: Spindle): Promise<{ ask: string[]; env?: Record<string, string> }>;
  cause: string;
  standing: 'ended' | 'going on' | 'needs a person';
  says: RegExp;
  /** A command or advice that must be given. */
  todo?: RegExp;
  /** What the first wait must say of times. */
  times?: ('since' | 'next' | 'limit')[];
  /** Steps that must be told, in this order. */
  steps?: RegExp[];
}

const started = async (whorl: Spindle, more: Record<string, unknown> = {}): Promise<Pushed> => {
  const pushed = whorl.push(files, more);
  await isBound(pushed);
  return pushed;
};

/** A running build. */
export async function running(whorl: Spindle): Promise<{ pushed: Pushed; build: string }> {
  const pushed = await started(whorl);
  const { id: build } = await buildOf(whorl, pushed);
  whorl.ci.advance(build, 'running');
  await pushed.shows('ci.yml', 'running');
  return { pushed, build };
}

const passes = async (whorl: Spindle): Promise<Pushed> => {
  const { pushed, build } = await running(whorl);
  whorl.ci.finish(build, 'passed');
  await pushed.shows('ci.yml', 'success');
  await pushed.ended();
  return pushed;
};

/** The CI does this with every create of one commit. */
function pushMeets(whorl: Spindle, action: Parameters<Spindle['ci']['onRequest']>[1], times?: 'always'): Pushed {
  const sha = newSha();
  whorl.ci.onRequest(createOf(sha), action, times);
  return whorl.push(files, { newSha: sha });
}

export const situations: Situation[] = [
  {
    what: 'it is green',
    plant: async (whorl) => ({ ask: [(await passes(whorl)).id] }),
    cause: 'green',
    standing: 'ended',
    says: /ci\.yml success/,
    steps: [
      /^happened on/,
      /^received/,
      /^judged and planned: ci\.yml$/,
      /^its workflow was started/,
      /^the CI is asked to build \(POST 1/,
      /^answered: build #\d+ /,
      /^a webhook told that it runs \(build\.running\)/,
      /^ended at the CI: success/,
      /^a webhook told of the end \(build\.finished\)/,
      /^published: success \(learnt by webhook\)/,
    ],
  },
  {
    what: 'a person types its commit',
    plant: async (whorl) => ({ ask: [(await passes(whorl)).sha.slice(0, 12)] }),
    cause: 'green',
    standing: 'ended',
    says: /ci\.yml success/,
  },
  {
    what: 'a person types the build of the CI',
    plant: async (whorl) => ({ ask: [(await buildOf(whorl, await passes(whorl))).id] }),
    cause: 'green',
    standing: 'ended',
    says: /ci\.yml success/,
  },
  {
    what: 'the workflow file is no YAML',
    plant: async (whorl) => {
      const pushed = whorl.push({ 'ci.yml': 'tack: [' });
      await pushed.shows('ci.yml', 'failed');
      await pushed.ended();
      return { ask: [whorl.knot.host, pushed.rkey] };
    },
    cause: 'author',
    standing: 'ended',
    says: /ci\.yml failed: ci\.yml is not valid YAML/,
    steps: [/^judged and planned: ci\.yml \(refused\)/, /^published: failed/, /^failed sent once more/],
  },
  {
    what: 'the pipeline is missing at the CI',
    plant: async (whorl) => ({ ask: [whorl.push({ 'ci.yml': buildkiteFile('made-later') }).rkey] }),
    cause: 'parked',
    standing: 'needs a person',
    says: /TargetMissing at create.*acme\/made-later/,
    todo: /^whorl retry pipeline\/\S+ ci\.yml$/,
    times: ['since', 'limit'],
  },
  {
    what: 'its repository is not on the allow-list',
    plant: async (whorl) => ({
      ask: [whorl.push({ 'ci.yml': buildkiteFile('lint') }).id],
    }),
    cause: 'parked',
    standing: 'needs a person',
    says: /Forbidden at create.*WHORL_BUILDKITE_ALLOW/,
    todo: /^whorl retry/,
  },
  {
    what: 'the CI answers searches with 500',
    own: { durations: { retryFirst: 60_000, retryMax: 60_000 } },
    plant: async (whorl) => {
      whorl.ci.onRequest({}, answer(500), 'always');
      const pushed = whorl.push(files);
      await failingActivity(pushed, 'create:ci.yml');
      await until('a search failed too', () => whorl.ci.requests.filter(({ status }) => status === 500).length > 1);
      return { ask: [pushed.id] };
    },
    cause: 'failing',
    standing: 'going on',
    says: /the CI to make its build: .*Buildkite answered 500/,
    todo: /^temporal activity reset --workflow-id \S+ --activity-id create:ci\.yml$/,
    times: ['since', 'next'],
  },
  {
    what: 'the rate limit of the CI is used up',
    plant: async (whorl) => {
      const pushed = pushMeets(whorl, rateLimited(120), 'always');
      await failingActivity(pushed, 'create:ci.yml');
      return { ask: [pushed.id] };
    },
    own: {},
    cause: 'rate-limited',
    standing: 'going on',
    says: /the CI to make its build: Buildkite’s rate limit is used up/,
    times: ['since', 'next'],
  },
  {
    what: 'the answer of a create was lost, and it is searched for',
    own: { buildkite: { indexLag: 'manual' }, durations: { looks: [100, 600_000] } },
    plant: async (whorl) => {
      whorl.ci.onWebhook({}, lose(), 'always');
      const pushed = pushMeets(whorl, loseAnswer());
      await until('a search in vain', async () => (await whorl.sql`select from builds where looks > 0`).length > 0);
      await failingActivity(pushed, 'create:ci.yml');
      return { ask: [pushed.id] };
    },
    cause: 'answer-lost',
    standing: 'going on',
    says: /did not answer whether it made the build/,
    times: ['since', 'next'],
    steps: [/^the CI is asked to build/, /^1 search for its build found nothing/],
  },
  {
    what: 'the webhooks of a running build stay away',
    plant: async (whorl) => {
      const { pushed, build } = await running(whorl);
      byHand(whorl, pushed.sha);
      whorl.ci.finish(build, 'passed');
      return { ask: [pushed.id] };
    },
    cause: 'running',
    standing: 'going on',
    says: /the CI to end build/,
    times: ['since', 'next', 'limit'],
  },
  {
    what: 'it is not known whether its repository is served',
    plant: async (whorl) => ({
      ask: [whorl.push(files, { repo: { did: 'did:plc:nobodyknowsme', name: 'unknown' } }).rkey],
    }),
    cause: 'held',
    standing: 'needs a person',
    says: /its repository to be served: The repository did:plc:nobodyknowsme\/unknown/,
    todo: /^whorl repos pin 127\.0\.0\.1:\d+ did:plc:nobodyknowsme\/unknown$/,
    times: ['since', 'next', 'limit'],
  },
  {
    what: 'its publisher is not a member, and the time to become one is over',
    own: { network: true, ready: false, env: { WHORL_HOLD_TIME: '2s' } },
    plant: async (whorl) => {
      const { network, owner } = whorl.network;
      const known = { knot: whorl.knot.host, spindle: 'spindle.example' };
      network.repo(owner.did, { ...known, name: 'base' });
      await whorl.knot.connected(1);
      const { rkey } = whorl.push(files, { repo: { did: network.account().did, name: 'site' } });
      return { ask: [rkey] };
    },
    cause: 'refused',
    standing: 'ended',
    says: /It was refused: .* there is no record of it, and did:\S+ is not a member/,
  },
  {
    what: 'it is from before the choice of its repository',
    plant: async (whorl) => {
      const { rkey } = whorl.push(files);
      await until(
        'it is started',
        async () => (await whorl.sql`select from pipelines where rkey = ${rkey}`).length > 0,
      );
      await whorl.sql`delete from triggers where rkey = ${rkey}`;
      const early = `early${randomUUID().slice(0, 8)}`;
      await whorl.sql`
        insert into triggers (knot, nsid, rkey, share, state, reason, settled_at) values
          (${whorl.knot.host}, 'sh.tangled.pipeline', ${early}, 0, 'early', 'before choice: it is of May', now())`;
      return { ask: [early] };
    },
    cause: 'before-choice',
    standing: 'ended',
    says: /never started: before choice/,
  },
  {
    what: 'PostgreSQL refuses the event',
    plant: async (whorl) => {
      const { rkey } = whorl.push({ 'ci.yml': 'a\0b' });
      await until('it is in quarantine', async () => (await whorl.sql`select from quarantine`).length > 0);
      return { ask: [rkey] };
    },
    cause: 'quarantined',
    standing: 'needs a person',
    says: /PostgreSQL refuses what knot\//,
    todo: /push again/,
  },
  {
    what: 'no worker runs',
    own: { roles: ['ingest', 'server'] },
    plant: async (whorl) => {
      const pushed = whorl.push(files);
      await until('it is started', async () => (await pushed.handle.describe().catch(() => undefined)) !== undefined);
      return { ask: [pushed.id] };
    },
    cause: 'no-worker',
    standing: 'needs a person',
    says: /a worker: none takes work from the task queue/,
    todo: /^whorl worker$/,
  },
  {
    what: 'its workflow code fails',
    // Temporal refuses to schedule an activity whose waits are less than nothing.
    own: { durations: { retryMax: -1_000 } },
    plant: async (whorl) => ({ ask: [whorl.push(files).id] }),
    cause: 'workflow-failing',
    standing: 'needs a person',
    says: /a release that can run it: its workflow code fails, .*interval/i,
    todo: /^whorl replay$/,
  },
  {
    what: 'no process of ingest runs',
    plant: async (whorl) => {
      const rkey = `late${randomUUID().slice(0, 8)}`;
      await whorl.sql`
        insert into triggers (knot, nsid, rkey, share, state, received_at, due_at) values
          (${whorl.knot.host}, 'sh.tangled.pipeline', ${rkey}, 0, 'new', now() - interval '1 min', now() - interval '1 min')`;
      return { ask: [`${whorl.knot.host}/${rkey}`] };
    },
    own: { roles: ['server'] },
    cause: 'not-dispatched',
    standing: 'needs a person',
    says: /a process that carries what came in to Temporal: none does/,
    todo: /^whorl ingest$/,
    times: ['since'],
  },
  {
    what: 'somebody paused its create in Temporal',
    plant: async (whorl) => {
      const pushed = pushMeets(whorl, answer(503), 'always');
      await failingActivity(pushed, 'create:ci.yml');
      await whorl.client.workflowService.pauseActivity({
        namespace: whorl.client.options.namespace,
        execution: { workflowId: pushed.id },
        identity: 'ada@oncall',
        reason: 'the CI is being moved',
        id: 'create:ci.yml',
      });
      return { ask: [pushed.id] };
    },
    cause: 'paused',
    standing: 'needs a person',
    says: /unpause its step create:ci\.yml, paused by ada@oncall: the CI is being moved/,
    todo: /^temporal activity unpause --workflow-id \S+ --activity-id create:ci\.yml$/,
    times: ['since'],
  },
  {
    what: 'somebody cancelled it',
    plant: async (whorl) => {
      const { pushed, build } = await running(whorl);
      await whorl.command('cancel', pushed.id);
      await until('the CI stops', () => whorl.ci.build(build).state === 'canceling');
      whorl.ci.advance(build, 'canceled');
      await pushed.shows('ci.yml', 'cancelled');
      return { ask: [pushed.id] };
    },
    cause: 'cancelled',
    standing: 'ended',
    says: /ci\.yml cancelled/,
    steps: [/^cancel asked for by tester$/, /^cancel carried out: Cancelling ci\.yml/, /^published: cancelled/],
  },
  {
    what: 'a newer push made it superfluous',
    plant: async (whorl) => {
      const keeps = { 'ci.yml': `${buildkiteFile()}whorl:\n  supersede: true\n` };
      const older = whorl.push(keeps, { ref: 'refs/heads/superseded' });
      await isBound(older);
      whorl.push(keeps, { ref: 'refs/heads/superseded' });
      const { id } = await buildOf(whorl, older);
      await until('the CI stops', () => whorl.ci.build(id).state === 'canceling');
      whorl.ci.advance(id, 'canceled');
      await older.shows('ci.yml', 'cancelled');
      return { ask: [older.id] };
    },
    cause: 'superseded',
    standing: 'ended',
    says: /ci\.yml cancelled: Superseded by pipeline\/\S+, a newer push to superseded/,
    steps: [/^cancel asked for by a newer push: Superseded by/, /^published: cancelled/],
  },
  {
    what: 'a cancel is waited for at the CI',
    own: { durations: { cancelConfirm: 600_000 } },
    plant: async (whorl) => {
      const { pushed } = await running(whorl);
      await whorl.command('cancel', pushed.id);
      return { ask: [pushed.id] };
    },
    cause: 'cancelling',
    standing: 'going on',
    says: /the CI to stop the build, asked for by tester/,
  },
  {
    what: 'a cancel came too late',
    plant: async (whorl) => {
      const { pushed, build } = await running(whorl);
      byHand(whorl, pushed.sha);
      whorl.ci.finish(build, 'passed');
      await whorl.command('cancel', pushed.id);
      expect(await send(whorl, webhookOf(whorl, build, 'build.finished'))).toBe(200);
      await pushed.shows('ci.yml', 'success');
      await pushed.ended();
      return { ask: [pushed.id] };
    },
    cause: 'green',
    standing: 'ended',
    says: /cancel asked for by tester, but the build had already ended: success/,
  },
  {
    what: 'its last status is withheld',
    plant: async (whorl) => {
      const pushed = await passes(whorl);
      await whorl.sql`
        insert into statuses (pipeline, knot, pipeline_rkey, job, attempt, epoch, rank, status, rkey, created_at, state)
        select pipeline, knot, pipeline_rkey, job, attempt, 1, rank, status, ${randomUUID()}, now() + interval '1 hour', 'due'
        from statuses where pipeline = ${pushed.id} and status = 'success' and not resend`;
      return { ask: [pushed.id] };
    },
    cause: 'withheld',
    standing: 'going on',
    says: /ci\.yml waits for the time of its status success/,
    times: ['next'],
  },
  {
    what: 'its workflow could not be started',
    own: { roles: ['ingest', 'server'] },
    plant: async (whorl) => {
      const rkey = `tried${randomUUID().slice(0, 8)}`;
      await whorl.sql`
        insert into triggers (knot, nsid, rkey, share, state, tries, reason, due_at) values
          (${whorl.knot.host}, 'sh.tangled.pipeline', ${rkey}, 0, 'new', 3, 'Temporal is away', now() + interval '1 min')`;
      return { ask: [rkey] };
    },
    cause: 'dispatch-failing',
    standing: 'needs a person',
    says: /its workflow to be started, which failed: Temporal is away/,
    times: ['since', 'next'],
  },
  {
    what: 'the CI does not accept the token',
    own: {},
    plant: async (whorl) => {
      whorl.ci.revokeToken(whorl.ci.token);
      return { ask: [whorl.push(files).id] };
    },
    cause: 'parked',
    standing: 'needs a person',
    says: /CredentialsRejected at create.*does not accept the API token/,
    todo: /^whorl retry/,
    times: ['since', 'limit'],
  },
  {
    what: 'a build of somebody else claims to be of a push that never was',
    plant: async (whorl) => {
      const { build } = await running(whorl);
      const rkey = `none${randomUUID().slice(0, 8)}`;
      const { body, ...hook } = webhookOf(whorl, build, 'build.running');
      const forged = JSON.parse(body) as { build: { id: string; meta_data: Record<string, string> } };
      forged.build.id = randomUUID();
      forged.build.meta_data['tack:pipeline_rkey'] = rkey;
      expect(await send(whorl, { ...hook, requestId: randomUUID(), body: JSON.stringify(forged) })).toBe(200);
      await until(
        'it is put aside',
        async () => (await whorl.sql`select from deliveries where state = 'foreign' and rkey = ${rkey}`).length > 0,
      );
      return { ask: [rkey] };
    },
    cause: 'foreign',
    standing: 'ended',
    says: /No event of that name ever came in. A build at the CI claims to be of it/,
  },
  {
    what: 'Temporal does not answer',
    plant: async (whorl) => {
      const { pushed } = await running(whorl);
      return { ask: [pushed.id], env: { TEMPORAL_ADDRESS: '127.0.0.1:9' } };
    },
    cause: 'temporal-away',
    standing: 'needs a person',
    says: /Temporal \(127\.0\.0\.1:9, .*which does not answer/,
  },
  {
    what: 'Temporal takes the call and never answers',
    plant: async (whorl) => {
      const silent = createServer(() => {}).listen(0, '127.0.0.1');
      await once(silent, 'listening');
      silent.unref();
      const { pushed } = await running(whorl);
      const { port } = silent.address() as AddressInfo;
      return { ask: [pushed.id], env: { TEMPORAL_ADDRESS: `127.0.0.1:${port}` } };
    },
    cause: 'temporal-away',
    standing: 'needs a person',
    says: /Temporal \(127\.0\.0\.1:\d+, .*which does not answer/,
  },
  {
    what: 'Temporal does not answer, and its job is parked',
    plant: async (whorl) => {
      const pushed = whorl.push({ 'ci.yml': buildkiteFile('made-later') });
      await until(
        'it is parked',
        async () => (await whorl.sql`select from jobs where pipeline = ${pushed.id} and parked is not null`).length > 0,
      );
      return { ask: [pushed.id], env: { TEMPORAL_ADDRESS: '127.0.0.1:9' } };
    },
    cause: 'temporal-away',
    standing: 'needs a person',
    says: /which does not answer/,
    todo: /^whorl retry/,
  },
  {
    what: 'somebody terminated its workflow',
    plant: async (whorl) => {
      const { pushed } = await running(whorl);
      await pushed.handle.terminate('by hand');
      return { ask: [pushed.id] };
    },
    cause: 'workflow-ended',
    standing: 'needs a person',
    says: /its workflow ended as TERMINATED before its jobs/,
    todo: /^whorl retry/,
  },
  {
    what: 'it was run again',
    plant: async (whorl) => {
      const pushed = await passes(whorl);
      await whorl.command('rerun', pushed.id);
      const { id } = await buildOf(whorl, pushed, 'ci.yml', 2);
      await until(
        'it is bound',
        async () => (await whorl.sql`select from attempts where pipeline = ${pushed.id} and build = ${id}`).length > 0,
      );
      return { ask: [pushed.id] };
    },
    cause: 'starting',
    standing: 'going on',
    says: /the CI to start build/,
    steps: [/^rerun asked for by tester$/, /^opened again as epoch 1: rerun by tester$/, /^asked for by tester$/],
  },
  {
    what: 'a command waits, because no process of ingest runs any more',
    own: { roles: ['server'] },
    plant: async (whorl) => {
      const ingest = await whorl.start('ingest');
      await whorl.start('worker');
      await whorl.knot.connected(1);
      const { pushed } = await running(whorl);
      await ingest.stop();
      await whorl.sql`update leases set expires_at = now() where source like 'dispatch/%'`;
      await whorl.sql`
        insert into commands (id, share, pipeline, kind, by, due_at) select 'late', share, ${pushed.id}, 'cancel', 'ada',
          now() - interval '1 min' from triggers where rkey = ${pushed.rkey}`;
      return { ask: [pushed.id] };
    },
    cause: 'not-dispatched',
    standing: 'needs a person',
    says: /a process that carries the cancel to Temporal: none does/,
    todo: /^whorl ingest$/,
  },
  {
    what: 'nothing is known of it',
    plant: async (whorl) => ({ ask: [`${whorl.knot.host}/neverheardof`] }),
    cause: 'unknown',
    standing: 'needs a person',
    says: /an event of that name: none has come in, and its knot is read up to 20/,
    todo: /^whorl repos list$/,
  },
];
