import type { ActivityFact, Books, JobFact, WhyFacts, WorkflowFact } from '../../src/pipeline/why-facts.ts';

export const id = 'pipeline/knot.example/3lwz7gq5vks22';
export const now = new Date('2026-03-01T12:00:00Z');
export const ago = (ms: number): Date => new Date(now.getTime() - ms);
export const hence = (ms: number): Date => new Date(now.getTime() + ms);

export const job: JobFact = {
  name: 'ci.yml',
  provider: 'buildkite',
  refusal: null,
  attempt: 1,
  epoch: 0,
  status: 'pending',
  error: null,
  exitCode: null,
  parked: null,
  note: null,
  ends: {},
  build: null,
  url: null,
};

export const books: Books = {
  trigger: {
    knot: 'knot.example',
    state: 'started',
    reason: null,
    eventAt: ago(61_000),
    receivedAt: ago(60_000),
    settledAt: ago(59_000),
    dueAt: ago(60_000),
    holdUntil: null,
    tries: 0,
    body: null,
  },
  pipeline: {
    knot: 'knot.example',
    rkey: '3lwz7gq5vks22',
    did: 'did:plc:x',
    repo: 'site',
    kind: 'push',
    commit: 'c0ffee',
    branch: 'main',
    title: 'push main @ c0ffee',
    createdAt: ago(59_500),
  },
  jobs: [job],
  attempts: [],
  posts: [],
  statuses: [],
  deliveries: [],
  commands: [],
  reopenings: [],
  slots: [],
  setAside: [],
  dispatched: true,
  knot: undefined,
};

export const workflow: WorkflowFact = {
  status: 'RUNNING',
  runId: 'r',
  startedAt: ago(59_000),
  closedAt: null,
  task: null,
  activities: [],
  workerSeen: ago(2_000),
  queue: 'whorl',
  waits: [],
};

export const activity: ActivityFact = {
  id: 'create:ci.yml',
  attempt: 3,
  running: false,
  paused: null,
  failure: null,
  scheduledAt: ago(30_000),
  nextAt: null,
};

export const facts = (
  some: Partial<Books>,
  flow: Partial<WorkflowFact> | null = {},
  more: Partial<WhyFacts> = {},
): WhyFacts => ({
  id,
  now,
  books: { ...books, ...some },
  engine: {
    asked: true,
    answers: true,
    server: 'temporal:7233',
    workflow: flow && { ...workflow, ...flow },
  },
  advice: null,
  parkLimit: 3_600_000,
  ...more,
});

export const failing = (type: string, message: string): ActivityFact => ({
  ...activity,
  failure: { type, message, at: ago(10_000) },
  nextAt: hence(20_000),
});

export const post = {
  job: 'ci.yml',
  attempt: 1,
  postedAt: ago(30_000),
  outcome: 'unknown' as const,
  looks: 2,
  lookedAt: ago(5_000),
  build: null,
  number: null,
  url: null,
  extraSince: null,
  cancelledAt: null,
};
