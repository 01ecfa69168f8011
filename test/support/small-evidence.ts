import { createHash } from 'node:crypto';
import type { Build, RequestRecord } from '../../sim/buildkite/index.ts';
import { judge } from '../../faults/check/index.ts';
import type { Evidence, Frame, Tables, Verdict, Workflow } from '../../faults/evidence.ts';

/** ms */
export const second = 1_000;
export const pipeline = 'pipeline/knot.example/abc';
export const run = (attempt: number): string =>
  createHash('sha256').update(`${pipeline}/ci.yml/${attempt}`).digest('hex').slice(0, 32);
const noTables: Tables = {
  triggers: [],
  pipelines: [],
  jobs: [],
  attempts: [],
  builds: [],
  statuses: [],
  deliveries: [],
  commands: [],
  reopenings: [],
  quarantine: [],
  logs: [],
};

export const nothing: Evidence = {
  seed: 1,
  faultsEndedAt: 0,
  quietAt: 60 * second,
  pushes: [],
  books: [],
  ci: { user: 'us', requests: [], builds: [], deliveries: [] },
  frames: [],
  logReads: [],
  asked: [],
  disturbances: [],
  crashes: [],
  tables: noTables,
  workflows: [],
  sightings: [],
  scan: { secrets: 0, bytes: {} },
  shown: {},
  replays: [],
};

export const aBuild = (id: string, createdAt: number, more: Partial<Build> = {}): Build => ({
  id,
  org: 'acme',
  pipeline: 'app',
  number: createdAt / second,
  commit: 'c',
  branch: 'main',
  message: null,
  env: {},
  metaData: {
    'tack:knot': 'knot.example',
    'tack:pipeline_rkey': 'abc',
    'tack:workflow': 'ci.yml',
    whorl_run: run(1),
  },
  source: 'api',
  creator: { id: 'us', name: 'Us', email: 'us@example' },
  author: null,
  pullRequest: null,
  rebuiltFrom: null,
  createdAt,
  state: 'passed',
  blocked: false,
  blockedState: '',
  cancelReason: null,
  scheduledAt: null,
  startedAt: null,
  failingAt: null,
  finishedAt: createdAt + second,
  indexed: true,
  jobs: [],
  history: [
    { state: 'running', blocked: false, at: createdAt },
    { state: more.state ?? 'passed', blocked: false, at: createdAt + second },
  ],
  ...more,
});

export const create = (n: number, build: Build | null, more: Partial<RequestRecord> = {}): RequestRecord => ({
  n,
  at: build?.createdAt ?? n * second,
  method: 'POST',
  path: '/v2/organizations/acme/pipelines/app/builds',
  route: 'create',
  body: { meta_data: { whorl_run: run(1) } },
  user: 'us',
  status: 201,
  lost: false,
  fault: null,
  build: build && { id: build.id, org: build.org, pipeline: build.pipeline, number: build.number },
  ...more,
});

type Status = Tables['statuses'][number];
const words = ['pending', 'running', 'success'];
export const aStatus = (n: number, status: string, more: Partial<Status> = {}): Status => ({
  pipeline,
  job: 'ci.yml',
  attempt: 1,
  epoch: 0,
  rank: Math.min(2, Math.max(0, words.indexOf(status) < 0 ? 2 : words.indexOf(status))),
  status,
  error: null,
  rkey: `rkey-${n}`,
  created_at: n * second,
  cursor: `${n}000000000`,
  state: 'sent',
  resend: false,
  ...more,
});

const frameOf = ({ rkey, job, status, created_at: createdAt, error }: Status): Frame => ({
  reader: 'faithful',
  connection: 1,
  at: createdAt,
  rkey,
  knot: 'knot.example',
  pipelineRkey: 'abc',
  job,
  status,
  createdAt,
  ...(error === null ? {} : { error }),
});

export const anAttempt = (attempt: number, build: string | null, more: Partial<Tables['attempts'][number]> = {}) => ({
  pipeline,
  job: 'ci.yml',
  attempt,
  run_key: `${pipeline}/ci.yml/${attempt}`,
  command: null,
  posts: 1,
  adopted_from: null,
  build,
  bound_at: second,
  cancel_asked_at: null,
  ...more,
});

export const aPost = (build: string | null, more: Partial<Tables['builds'][number]> = {}) => ({
  pipeline,
  job: 'ci.yml',
  attempt: 1,
  provider: 'buildkite',
  nonce: `nonce-${build}`,
  posted_at: second,
  outcome: 'accepted',
  build,
  number: '1',
  extra_since: null,
  cancelled_at: null,
  data: null,
  ...more,
});

export const aWorkflow: Workflow = {
  id: pipeline,
  runId: 'run-1',
  startedAt: 0,
  status: 'COMPLETED',
  parked: [],
  historyLength: 30,
  pending: [],
  taskFailure: null,
};

export const first = aBuild('first', second);

/** One pipeline with one job, which went well. */
export const good: Evidence = withStatuses(
  {
    ...nothing,
    pushes: [
      {
        knot: 'knot.example',
        rkey: 'abc',
        did: 'did:web:a',
        repo: 'app',
        commit: 'c',
        at: 0,
        served: true,
        jobs: [{ name: 'ci.yml', expect: 'build' }],
      },
    ],
    books: [{ knot: 'knot.example', rkey: 'abc' }],
    ci: { user: 'us', requests: [create(1, first)], builds: [first], deliveries: [] },
    tables: {
      ...noTables,
      triggers: [
        {
          knot: 'knot.example',
          nsid: 'sh.tangled.pipeline',
          rkey: 'abc',
          state: 'started',
          reason: null,
          received_at: 0,
          settled_at: 1,
          hold_until: null,
          tries: 0,
          has_body: false,
        },
      ],
      pipelines: [{ id: pipeline, knot: 'knot.example', rkey: 'abc', did: 'did:web:a', repo: 'app', created_at: 0 }],
      jobs: [
        {
          pipeline,
          name: 'ci.yml',
          provider: 'buildkite',
          refusal: null,
          attempt: 1,
          epoch: 0,
          rank: 2,
          status: 'success',
          error: null,
          shown_at: 3,
          note: null,
        },
      ],
      attempts: [anAttempt(1, 'first')],
      builds: [aPost('first')],
    },
    workflows: [aWorkflow],
    scan: { secrets: 1, bytes: { 'table jobs': 10, history: 10 } },
    replays: [{ name: pipeline }],
  },
  [aStatus(1, 'pending'), aStatus(2, 'running'), aStatus(3, 'success')],
);

/** With these in the outbox, and all of them at the reader. */
export function withStatuses(evidence: Evidence, statuses: Status[]): Evidence {
  const last = statuses.at(-1);
  const { attempt, epoch, rank, status, error } = last ?? aStatus(0, 'pending');
  const jobs = evidence.tables.jobs.map((job) => ({ ...job, attempt, epoch, rank, status, error }));
  return { ...evidence, frames: statuses.map(frameOf), tables: { ...evidence.tables, jobs, statuses } };
}

export const withTables = (evidence: Evidence, tables: Partial<Tables>): Evidence => ({
  ...evidence,
  tables: { ...evidence.tables, ...tables },
});

export const withBuilds = (evidence: Evidence, builds: Build[], requests: RequestRecord[]): Evidence => ({
  ...evidence,
  ci: { ...evidence.ci, builds, requests },
});

export const broken = (evidence: Evidence): number[] =>
  judge(evidence)
    .filter(({ kept }) => !kept)
    .map(({ invariant }) => invariant);

export const said = (evidence: Evidence): string =>
  judge(evidence)
    .flatMap((one) => one.counterexamples)
    .join('\n');

export const verdict = (evidence: Evidence, invariant: Verdict['invariant']): Verdict => {
  const found = judge(evidence).find((one) => one.invariant === invariant);
  if (!found) throw new Error(`there is no verdict on ${invariant}`);
  return found;
};
