-- compatible from: 1

-- Who may run what: this spindle, the records of the network, and the accounts that they are of.

-- One row. since: when this host with this owner was first started; nothing before counts.
create table spindle (
  one boolean primary key default true check (one),
  host text not null,
  owner text not null,
  since timestamptz not null default now()
);

-- A record as the network last showed it to us. rev: of the commit that it was seen at; an older one changes nothing.
-- value: the fields that count, null once it is deleted. since: how long those fields have said the same.
create table records (
  did text not null,
  collection text not null,
  rkey text not null,
  rev text collate "C" not null,
  value jsonb,
  since timestamptz not null,
  primary key (did, collection, rkey)
);
create index records_spindle on records ((value ->> 'spindle'))
  where collection = 'sh.tangled.repo' and value is not null;
create index records_name on records (did, (value ->> 'name'))
  where collection = 'sh.tangled.repo' and value is not null;
create index records_repo_did on records (did, (value ->> 'repoDid'))
  where collection = 'sh.tangled.repo' and value is not null;
create index records_member on records (did, (value ->> 'instance'), (value ->> 'subject'))
  where collection = 'sh.tangled.spindle.member' and value is not null;

-- active: false while the account is deactivated, suspended, taken down or not to be found; its records wait.
-- active_since: when it came back; what happened while it was away does not count.
-- floor: the account was deleted; commits up to this rev never were. listed_at: when the last complete listing began.
-- due_at: when it is listed next, if it is the owner's or a member's; infinity: only its records were seen.
create table accounts (
  did text primary key,
  active boolean not null default true,
  status text,
  status_at timestamptz,
  active_since timestamptz,
  floor text collate "C",
  listed_at timestamptz,
  listed_rev text collate "C",
  due_at timestamptz not null default clock_timestamp(),
  asked_at timestamptz,
  tries int not null default 0,
  problem text
);
create index accounts_due on accounts (due_at);

-- The repositories that this spindle serves now, and since when: those that were pinned, and those whose record names
-- this host and whose publisher is the owner, or a member by a record of the owner's.
create view served as
  select knot, did, name, null::text as rkey, null::text as repo_did, 'pin' as source, chosen_at as since
  from repos where source = 'pin'
union all
  select repo.value ->> 'knot', repo.did, repo.value ->> 'name', repo.rkey, repo.value ->> 'repoDid', 'record',
    greatest(repo.since, spindle.since, accounts.active_since, case when repo.did <> spindle.owner then member.since end)
  from spindle
  join records repo on repo.collection = 'sh.tangled.repo' and repo.value ->> 'spindle' = spindle.host
  left join accounts on accounts.did = repo.did
  left join lateral (
    select min(records.since) as since from records
    where collection = 'sh.tangled.spindle.member' and did = spindle.owner
      and value ->> 'instance' = spindle.host and value ->> 'subject' = repo.did
  ) member on true
  where (repo.did = spindle.owner or member.since is not null) and accounts.active is not false;

create index triggers_held on triggers ((body -> 'triggerMetadata' -> 'repo' ->> 'did')) where state = 'held';

-- Of what was not served when it came: did/name, which stays when the body goes.
alter table triggers add column repo text;
create index triggers_repo on triggers (repo, id) where repo is not null;

-- What a stream sent that is none, cut to a readable size: the last hundred of each source.
create table refused_frames (
  id bigint generated always as identity primary key,
  source text not null,
  reason text not null,
  bytes bytea not null,
  received_at timestamptz not null default clock_timestamp()
);
create index refused_frames_source on refused_frames (source, id);

-- A watcher of a log is a command that is wanted until it expires.
alter table commands add column expires_at timestamptz;
alter table commands drop constraint commands_kind_check;
alter table commands add constraint commands_kind_check check (kind in ('cancel', 'rerun', 'retry', 'watch'));

-- Logs, one for each attempt of a job: entries in the order of their arrival, in compressed chunks.

-- entries: how many are here. bytes: how much they were at the CI. stored: how much they take here, compressed.
-- steps: step ids given out. listed_at: when the CI was last asked which steps there are. listed: the last epoch of
-- which all steps are known. complete: the last one of which everything is here. removed_at: it became too old.
create table logs (
  pipeline text not null,
  job text not null,
  attempt int not null,
  entries bigint not null default 0,
  bytes bigint not null default 0,
  stored bigint not null default 0,
  steps int not null default 0,
  listed_at timestamptz,
  listed int not null default -1,
  complete int not null default -1,
  created_at timestamptz not null default clock_timestamp(),
  removed_at timestamptz,
  primary key (pipeline, job, attempt),
  foreign key (pipeline, job) references jobs (pipeline, name)
);
create index logs_kept on logs (created_at) where removed_at is null;
create index logs_leaving on logs (removed_at) where removed_at is not null and stored > 0;

-- What the CI runs within one build, or a reason of our own: its log is read up to place.
create table log_steps (
  pipeline text not null,
  job text not null,
  attempt int not null,
  step text not null,
  position int not null,
  about jsonb not null,
  place jsonb not null,
  done boolean not null default false,
  primary key (pipeline, job, attempt, step),
  foreign key (pipeline, job, attempt) references logs on delete cascade
);

-- n: of the first entry; count: how many. data: the entries as JSON lines, compressed with zstd. bytes: before that.
create table log_chunks (
  pipeline text not null,
  job text not null,
  attempt int not null,
  n bigint not null,
  count int not null,
  bytes int not null,
  data bytea not null,
  primary key (pipeline, job, attempt, n),
  foreign key (pipeline, job, attempt) references logs on delete cascade
);
