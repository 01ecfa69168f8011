-- compatible from: 1

-- What people ask for from Tangled, and what a newer push makes superfluous.

-- repo_did: the repository's own DID, from knots that send it.
alter table pipelines add column repo_did text;
-- Whoever asks by XRPC names a pipeline by its key alone.
create index pipelines_rkey on pipelines (rkey);

-- reason: why a job is to be cancelled, as its status will say.
alter table commands add column reason text;

-- superseded: the attempt that was cancelled because of a newer push.
alter table jobs add column superseded int;
create index jobs_superseding on jobs (pipeline) where supersede and (status is null or status in ('pending', 'running'));
