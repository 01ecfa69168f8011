-- compatible from: 1

-- What is done after an older copy of this database took the place of a newer one.

-- content_at: how new what was restored is. finished_at: null while `whorl restore` has not come to its end; no role
-- starts then.
create table restores (
  epoch int generated always as identity primary key,
  begun_at timestamptz not null default clock_timestamp(),
  content_at timestamptz not null,
  finished_at timestamptz
);
create unique index restores_unfinished on restores ((true)) where finished_at is null;

-- Pipelines of which Temporal or the CI may know more than this database. Some have no rows here until their trigger
-- comes again from the knot, so nothing is referred to. ends: how their closed workflow left each job.
create table restored (
  pipeline text primary key,
  restore int not null references restores,
  ends jsonb
);

-- restored: the last restore after which the CI was asked for all builds of the job.
alter table jobs add column restored int;

alter table commands drop constraint commands_kind_check;
alter table commands add constraint commands_kind_check check (kind in ('cancel', 'rerun', 'retry', 'watch', 'reopen'));
