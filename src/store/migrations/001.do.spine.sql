-- compatible from: 1

-- What comes in: triggers, deliveries and commands wait here until dispatch has carried them to Temporal.

create table repos (
  knot text not null,
  did text not null,
  name text not null,
  source text not null check (source in ('pin', 'record')),
  chosen_at timestamptz not null,
  created_at timestamptz not null default now(),
  primary key (knot, did, name, source)
);

create table leases (
  source text primary key,
  owner text,
  epoch bigint not null default 0,
  expires_at timestamptz not null default '-infinity'
);

-- position: nanoseconds since 1970. since: how far back this source has been read on purpose.
create table cursors (
  source text primary key,
  position bigint,
  since timestamptz,
  updated_at timestamptz not null default now()
);

create table triggers (
  id bigint generated always as identity,
  knot text not null,
  nsid text not null,
  rkey text not null,
  share smallint not null,
  event_at timestamptz,
  body jsonb,
  state text not null default 'new' check (state in ('new', 'held', 'started', 'ended', 'refused', 'early')),
  reason text,
  received_at timestamptz not null default clock_timestamp(),
  due_at timestamptz not null default clock_timestamp(),
  hold_until timestamptz,
  tries int not null default 0,
  settled_at timestamptz,
  primary key (knot, nsid, rkey)
);
create index triggers_open on triggers (share, due_at, id) where state in ('new', 'held');

create table deliveries (
  id bigint generated always as identity primary key,
  provider text not null,
  key text not null,
  share smallint not null,
  event text not null,
  build text not null,
  rebuilt_from text,
  knot text,
  rkey text,
  job text,
  ref jsonb not null,
  seen jsonb not null,
  state text not null default 'new' check (state in ('new', 'done', 'foreign')),
  reason text,
  received_at timestamptz not null default clock_timestamp(),
  due_at timestamptz not null default clock_timestamp(),
  tries int not null default 0,
  settled_at timestamptz,
  unique (provider, key)
);
create index deliveries_open on deliveries (share, due_at, id) where state = 'new';

create table commands (
  id text primary key,
  seq bigint generated always as identity,
  share smallint not null,
  pipeline text not null,
  kind text not null check (kind in ('cancel', 'rerun', 'retry')),
  job text,
  by text not null,
  state text not null default 'new' check (state in ('new', 'done', 'refused')),
  result text,
  received_at timestamptz not null default clock_timestamp(),
  due_at timestamptz not null default clock_timestamp(),
  tries int not null default 0,
  settled_at timestamptz
);
create index commands_open on commands (share, due_at, seq) where state = 'new';

-- Rows that PostgreSQL itself refused, as bytes.
create table quarantine (
  id bigint generated always as identity primary key,
  source text not null,
  bytes bytea not null,
  reason text not null,
  received_at timestamptz not null default now()
);
-- A stream sends the same bytes again after every rewind.
create unique index quarantine_once on quarantine (source, md5(bytes));

-- What people look at.

create table pipelines (
  id text primary key,
  knot text not null,
  rkey text not null,
  did text not null,
  repo text not null,
  kind text not null,
  commit text not null,
  branch text not null,
  title text not null,
  created_at timestamptz not null default clock_timestamp(),
  unique (knot, rkey)
);

-- One row for each time that an ended pipeline was opened again.
create table reopenings (
  pipeline text not null references pipelines,
  epoch int not null,
  because text not null,
  created_at timestamptz not null default clock_timestamp(),
  token text,
  primary key (pipeline, epoch)
);

-- attempt, epoch, rank: of the last published status. shown_at: its createdAt. word: the CI's last word, for reopening.
create table jobs (
  pipeline text not null references pipelines,
  name text not null,
  position int not null,
  provider text,
  spec jsonb,
  refusal text,
  attempt int not null default 1,
  epoch int not null default 0,
  rank smallint not null default -1,
  status text,
  error text,
  exit_code int,
  state jsonb,
  shown_at timestamptz,
  primary key (pipeline, name)
);

create table attempts (
  pipeline text not null,
  job text not null,
  attempt int not null,
  run_key text not null unique,
  command text,
  posts int not null default 0,
  adopted_from text,
  build text,
  bound_at timestamptz,
  cancel_asked_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  primary key (pipeline, job, attempt),
  foreign key (pipeline, job) references jobs (pipeline, name)
);
create unique index attempts_command on attempts (pipeline, job, command);
create index attempts_run on attempts (command) where command is not null;

-- A row before each POST. outcome: unknown until the CI has answered.
create table builds (
  id bigint generated always as identity primary key,
  pipeline text not null,
  job text not null,
  attempt int not null,
  provider text not null,
  nonce text not null unique,
  posted_at timestamptz not null default clock_timestamp(),
  outcome text not null default 'unknown' check (outcome in ('unknown', 'accepted', 'refused', 'adopted')),
  looks int not null default 0,
  looked_at timestamptz,
  build text,
  number bigint,
  url text,
  data jsonb,
  extra_since timestamptz,
  cancelled_at timestamptz,
  foreign key (pipeline, job, attempt) references attempts (pipeline, job, attempt)
);
create unique index builds_build on builds (provider, build);
create index builds_attempt on builds (pipeline, job, attempt);

-- The rate budget: one row for each call that was given a time.
create table budgets (
  bucket text primary key,
  blocked_until timestamptz not null default '-infinity'
);
create table slots (
  bucket text not null references budgets,
  key text not null,
  priority smallint not null,
  at timestamptz not null,
  primary key (bucket, key)
);
create index slots_time on slots (bucket, at);

-- A function, because each of its statements sees what others committed while it waited for the lock, and because no
-- client can freeze between lock and commit. most: calls of this rank and above in a window. own: calls of this rank alone.
create function reserve_slot(bucket_ text, key_ text, rank_ smallint, most int, own int, lap interval) returns timestamptz
language plpgsql as $$
declare
  free timestamptz;
  kept timestamptz;
begin
  -- A slot that is lost in a crash costs one request too many, and no caller should wait for the disk for it.
  perform set_config('synchronous_commit', 'off', true);
  insert into budgets (bucket) values (bucket_) on conflict do nothing;
  select greatest(blocked_until, clock_timestamp()) into free from budgets where bucket = bucket_ for update;
  delete from slots where bucket = bucket_ and at < clock_timestamp() - lap;
  select greatest(at, free) into kept from slots where bucket = bucket_ and key = key_;
  if kept is not null then
    -- A slot whose time has come is used up now: the next call of this name queues again.
    update slots set at = kept, key = case when kept <= clock_timestamp() then key_ || '/' || gen_random_uuid() else key_ end
    where bucket = bucket_ and key = key_;
    return kept;
  end if;
  free := greatest(
    free,
    (select at + lap from slots where bucket = bucket_ and priority <= rank_ order by at desc offset most - 1 limit 1),
    (select at + lap from slots where bucket = bucket_ and priority = rank_ order by at desc offset own - 1 limit 1)
  );
  insert into slots (bucket, key, priority, at)
  values (bucket_, case when free <= clock_timestamp() then key_ || '/' || gen_random_uuid() else key_ end, rank_, free);
  return free;
end $$;

-- What goes out. A row gets its cursor when it may be shown: at once, or when created_at has come.

create table clock (
  one boolean primary key default true check (one),
  last bigint not null
);
insert into clock (last) values (0);

create table statuses (
  id bigint generated always as identity primary key,
  pipeline text not null references pipelines,
  knot text not null,
  pipeline_rkey text not null,
  job text not null,
  attempt int not null,
  epoch int not null,
  rank smallint not null,
  status text not null,
  error text,
  exit_code int,
  rkey text not null unique,
  created_at timestamptz not null,
  cursor bigint unique,
  state text not null default 'due' check (state in ('due', 'sent', 'skipped')),
  resend boolean not null default false
);
create unique index statuses_once on statuses (pipeline, job, attempt, epoch, status, md5(coalesce(error, ''))) where not resend;
create unique index statuses_resent on statuses (pipeline, job) where resend;
create index statuses_due on statuses (created_at) where state = 'due';
