-- compatible from: 1

-- How far housekeeping has come with what it walks through once. statuses: a cursor of `statuses`.
create table housekeeping (
  kind text primary key,
  position bigint not null
);
create index quarantine_received on quarantine (received_at);
create index sources_updated on sources (updated_at);
