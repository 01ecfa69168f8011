-- compatible from: 1

-- What people ask for from Tangled, and what a newer push makes superfluous.

-- repo_did: the repository's own DID, from knots that send it.
alter table pipelines add column repo_did text;
-- Whoever asks by XRPC names a pipeline by its key alone.
create index pipelines_rkey on pipelines (rkey);

-- reason: why a job is to be cancelled, as its status will say.
alter table commands add column reason text;

-- stamp: of a push to a branch with such jobs, when it happened: a TID, by which pushes to one branch are in order.
-- superseded: the attempt that was cancelled because of a newer push.
alter table pipelines add column stamp text collate "C";
create index pipelines_stamp on pipelines (did, repo, branch, stamp, id) where stamp is not null;
alter table jobs add column superseded int;
create index jobs_superseding on jobs (pipeline) where supersede and (status is null or status in ('pending', 'running'));
