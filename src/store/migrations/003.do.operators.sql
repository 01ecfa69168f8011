-- compatible from: 1

-- What operators look at, and what people ask for from Tangled.

-- How each stream that is read does: written by whoever reads it, at most every few seconds and at each change of state.
-- frame_at: the last frame. event_at: when that happened, by its own clock. skew_ms: of the source's clock, ahead of ours.
create table sources (
  source text primary key,
  state text not null check (state in ('connecting', 'live', 'waiting')),
  since timestamptz not null default clock_timestamp(),
  frame_at timestamptz,
  event_at timestamptz,
  frames bigint not null default 0,
  skew_ms bigint,
  tries int not null default 0,
  error text,
  error_at timestamptz,
  updated_at timestamptz not null default clock_timestamp()
);

-- learnt: how the end of the attempt was first learnt: by a webhook, by a read of ours, or it was our own word.
alter table attempts add column learnt text check (learnt in ('webhook', 'read', 'self'));
alter table attempts add column ended_at timestamptz;
create index attempts_ended on attempts (ended_at) where ended_at is not null;

-- What the CI last said of its rate limit: how many calls are left of how many, until when.
alter table budgets add column allowed int;
alter table budgets add column remaining int;
alter table budgets add column resets_at timestamptz;
alter table budgets add column told_at timestamptz;

-- Tokens that were used, so that none counts twice; until they would have expired by themselves.
create table service_tokens (
  issuer text not null,
  id text not null,
  expires_at timestamptz not null,
  primary key (issuer, id)
);
create index service_tokens_expiry on service_tokens (expires_at);

-- happened_at: when the trigger happened, by the knot's clock brought to ours. tag: the branch column names a tag.
-- supersede: a newer push to the same branch cancels the job, because its workflow file says so.
alter table pipelines add column happened_at timestamptz;
alter table pipelines add column tag boolean not null default false;
create index pipelines_branch on pipelines (did, repo, branch, created_at);
create index pipelines_created on pipelines (created_at);
create index pipelines_commit on pipelines (commit);
alter table jobs add column supersede boolean not null default false;

-- parked: the class of the failure for which the job waits for the operator.
alter table jobs add column parked text;
create index jobs_parked on jobs (parked) where parked is not null;
create index jobs_open on jobs (pipeline) where status is null or status in ('pending', 'running');

-- What is kept of a delivery after its time is its key, so that it stays the same delivery.
alter table deliveries alter column ref drop not null;
alter table deliveries alter column seen drop not null;
create index deliveries_build on deliveries (build);
create index deliveries_settled on deliveries (settled_at) where seen is not null;
