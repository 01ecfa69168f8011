-- compatible from: 1

-- What operators list: the few jobs that ended badly, and the webhooks that named a pipeline.
create index jobs_red on jobs (status, pipeline) where status in ('failed', 'timeout', 'cancelled');
create index deliveries_address on deliveries (knot, rkey) where knot is not null;
