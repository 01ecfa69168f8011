import { counter, gauge, histogram } from './registry.ts';

/*
 * Everything that is counted where it happens. Labels are bounded: no repository, no branch, no pipeline. Requests,
 * errors and durations of one border are one histogram: its count is the requests, a label of it says how they went.
 * `docs/metrics.md` lists them all; a test compares.
 */

export const httpRequests = histogram(
  'whorl_http_request_duration_seconds',
  'HTTP requests that came in, until their answer was sent.',
  ['route', 'method', 'status'],
);

export const webhooks = counter('whorl_webhooks_total', 'Webhooks that came in, by what became of them.', [
  'provider',
  'outcome',
]);

export const readerConnections = gauge('whorl_reader_connections', 'Readers that are connected now.', ['path']);
export const readersOpened = counter('whorl_readers_opened_total', 'Readers that came.', ['path']);
export const readersClosed = counter('whorl_readers_closed_total', 'Readers that left, by WebSocket close code.', [
  'path',
  'code',
]);
export const upgradesRefused = counter('whorl_upgrades_refused_total', 'Upgrades that were refused.', ['status']);

export const triggers = counter('whorl_triggers_total', 'Triggers that dispatch decided about, by its decision.', [
  'outcome',
]);

export const dispatched = histogram(
  'whorl_dispatch_duration_seconds',
  'Rows of the inbox that dispatch carried to Temporal, until they were settled.',
  ['kind', 'outcome'],
);

export const temporalCalls = histogram('whorl_temporal_call_duration_seconds', 'Calls of dispatch to Temporal.', [
  'call',
  'outcome',
]);

export const activities = histogram(
  'whorl_activity_duration_seconds',
  'Attempts of activities, by how they ended: done, cancelled, again (a log that is followed), or the class of the failure.',
  ['activity', 'outcome'],
);

export const activityTries = counter(
  'whorl_activity_late_attempts_total',
  'Attempts of activities beyond the fifth: something does not pass by itself.',
  ['activity'],
);

export const ciRequests = histogram(
  'whorl_ci_request_duration_seconds',
  'Requests to the CI, until its answer began. status: its class, or none without an answer.',
  ['provider', 'operation', 'status'],
);

export const networkRequests = histogram(
  'whorl_network_request_duration_seconds',
  'Requests to the network’s directory (plc), to hosts of did:web and of handles, and to account servers (pds).',
  ['service', 'outcome'],
);

export const statements = histogram(
  'whorl_database_statement_duration_seconds',
  'Statements of this process, outside of transactions, until their answer.',
);

export const statementErrors = counter(
  'whorl_database_errors_total',
  'Statements that failed, by class of SQLSTATE, or client when no answer came.',
  ['class'],
);

export const statuses = counter('whorl_statuses_published_total', 'Statuses that this process put into the outbox.');

export const logSpace = gauge('whorl_logs_space_bytes', 'What all kept logs together may take: WHORL_LOG_SPACE.');

export const buildInfo = gauge('whorl_build_info', 'Always 1; the labels say what runs.', ['version', 'role', 'node']);
