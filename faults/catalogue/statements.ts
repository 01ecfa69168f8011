/*
 * The statements of Whorl that matter: each is a transaction of its own. A test holds each pattern against src/store, where
 * it must be found in one statement and no other.
 */
import { cancels, losesAnswersAndLags, readsLog, rebuilds, reruns } from './causes.ts';
import type { Moment } from './points.ts';

/** For what follows only after all the searches for a lost answer, ms. */
const longMs = 35_000;

export const statements: readonly Moment[] = [
  { name: 'triggers and the cursor', role: 'ingest', match: /insert into triggers\b/ },
  { name: 'a webhook', role: 'ingest', match: /insert into deliveries\b/ },
  { name: 'a planned pipeline', role: 'ingest', match: /insert into pipelines\b/ },
  { name: 'the end of a trigger', role: 'ingest', match: /update triggers set state = \$\d+, reason/ },
  { name: 'the end of webhooks', role: 'ingest', match: /update deliveries set state\b/ },
  { name: 'the end of a command', role: 'ingest', match: /update commands set state\b/, cause: cancels },
  { name: 'an epoch given out', role: 'ingest', match: /insert into reopenings\b/, cause: reruns },
  { name: 'leases prolonged', role: 'ingest', match: /update leases l set expires_at\b/ },
  { name: 'leases taken over', role: 'ingest', match: /epoch = l\.epoch \+ 1/ },
  { name: 'the first POST', role: 'worker', match: /update attempts set posts = 1\b/ },
  {
    name: 'another POST',
    role: 'worker',
    match: /update attempts set posts = posts \+ 1/,
    cause: losesAnswersAndLags,
    patienceMs: longMs,
  },
  { name: 'a search in vain', role: 'worker', match: /update builds set looks\b/, cause: losesAnswersAndLags },
  { name: 'a build bound', role: 'worker', match: /update attempts set build\b/ },
  {
    name: 'an extra build',
    role: 'worker',
    match: /update builds set extra_since\b/,
    cause: losesAnswersAndLags,
    patienceMs: longMs,
  },
  { name: 'a second attempt', role: 'worker', match: /attempt, run_key, command\)/, cause: reruns },
  { name: 'no more POSTs', role: 'worker', match: /attempt, run_key, cancel_asked_at\)/, cause: cancels },
  { name: 'an epoch claimed', role: 'worker', match: /update reopenings set token\b/, cause: reruns },
  { name: 'statuses', role: 'worker', match: /where not resend do nothing/ },
  { name: 'statuses sent again', role: 'worker', match: /where resend do nothing/ },
  { name: 'withheld statuses shown', role: 'worker', match: /update statuses set state = case\b/ },
  { name: 'a log begun', role: 'worker', match: /insert into logs\b/ },
  { name: 'steps of a log', role: 'worker', match: /insert into log_steps as known\b/ },
  { name: 'entries of a log', role: 'worker', match: /insert into log_chunks\b/ },
  { name: 'the end of a log', role: 'worker', match: /update logs set complete\b/ },
  { name: 'a reader of a log', role: 'server', match: /insert into commands [^)]*expires_at\)/, cause: readsLog },
];

/** Statements within the one transaction that has several. */
export const adoption: readonly Moment[] = [
  { name: 'an attempt adopted', role: 'worker', match: /attempt, run_key, adopted_from\b/, cause: rebuilds },
  { name: 'a build adopted', role: 'worker', match: /attempt, provider, nonce, outcome\b/, cause: rebuilds },
];

/** The end of that transaction. */
export const adopted: Moment = { name: 'the commit of an adoption', role: 'worker', match: /./, cause: rebuilds };
