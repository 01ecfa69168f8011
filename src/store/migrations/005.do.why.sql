-- compatible from: 1

-- Commands of one pipeline, also those that are settled, and webhooks that named a pipeline of which nobody knows.
create index commands_pipeline on commands (pipeline, seq) where kind <> 'watch';
create index deliveries_foreign on deliveries (rkey) where state = 'foreign';
