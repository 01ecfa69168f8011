import { randomBytes } from 'node:crypto';
import type { Scale } from './contract.ts';

/** What every process of a run knows, and nobody else may see. */
export interface Secrets {
  token: string;
  webhookSecret: string;
  oldWebhookSecret: string;
  /** Of an author, in the environment of builds: webhooks carry it, and nothing of ours may keep it. */
  authors: string;
}

export const makeSecrets = (): Secrets => ({
  token: `bkua_${randomBytes(20).toString('hex')}`,
  webhookSecret: `planted-${randomBytes(16).toString('hex')}`,
  oldWebhookSecret: `planted-${randomBytes(16).toString('hex')}`,
  authors: `planted-${randomBytes(16).toString('hex')}`,
});

export const spindle = 'spindle.example';
export const pipelines = ['acme/app', 'acme/lint', 'acme/web', 'acme/docs'];

/**
 * Durations of a pipeline, and what they are in production. Waits for people and for silence are shorter, or a run
 * would take days; the order between them is that of production. Leases, statement limits, polls, and the deadlines of
 * calls to Temporal are production's own.
 */
export type Durations = Record<string, [ours: string, production: string]>;

/** When a create whose answer was lost looks for its build, s. */
const looks = [1, 2, 4, 8];
/** All of them together, ms. */
export const looksMs = looks.reduce((sum, seconds) => sum + seconds, 0) * 1_000;

const durations: Durations = {
  WHORL_SILENCE_FIRST: ['4s', '2m'],
  WHORL_SILENCE_MAX: ['20s', '1h'],
  WHORL_RESEND_AFTER: ['3s', '45s'],
  WHORL_CANCEL_CONFIRM: ['8s', '2m'],
  WHORL_SWEEP_AFTER: ['3s,8s,16s', '1m,5m,30m'],
  WHORL_CREATE_LOOKS: [looks.map((seconds) => `${seconds}s`).join(','), '2s,5s,10s,20s'],
  WHORL_CREATE_TIMEOUT: ['10s', '30s'],
  WHORL_READ_TIMEOUT: ['10s', '1m'],
  WHORL_PUBLISH_TIMEOUT: ['10s', '10s'],
  WHORL_RETRY_MAX: ['5s', '2m'],
  WHORL_PARK_LIMIT: ['20s', '72h'],
  WHORL_HOLD_TIME: ['20s', '15m'],
  WHORL_DRAIN_NOTICE: ['500ms', '2s'],
  WHORL_FAKE_POLL: ['500ms', '1s'],
};

/**
 * After ten minutes without Temporal more than a thousand pipelines are open at once. If each asked every few seconds, that
 * alone would be more than a small machine can do, which it is not in production.
 */
const longer: Durations = {
  ...durations,
  WHORL_SILENCE_FIRST: ['20s', '2m'],
  WHORL_SILENCE_MAX: ['3m', '1h'],
  WHORL_HOLD_TIME: ['1m', '15m'],
};

const isLong = (ms: number): boolean => ms >= 30 * 60_000;

/** The durations of a pipeline, in a run whose pushes come for `ms`. */
export const durationsOf = (ms: number): Durations => (isLong(ms) ? longer : durations);

/** How long the faults last, for a run whose pushes come for `ms`. */
export function scaleOf(ms: number): Scale {
  const long = isLong(ms);
  return {
    freeze: 13_000,
    temporalAway: long ? 600_000 : Math.min(60_000, Math.round(ms / 8)),
    webhookLate: long ? 180_000 : Math.min(30_000, Math.round(ms / 6)),
    // Shorter than all looks together: an index that lags for longer is met by the sweeps.
    indexLag: 9_000,
  };
}

/** The environment that all roles share; addresses come from the world. */
export function settings(secrets: Secrets, owner: string, scaled: Durations): Record<string, string> {
  return {
    WHORL_HOSTNAME: spindle,
    WHORL_OWNER_DID: owner,
    WHORL_DEV: 'true',
    WHORL_LOG_FORMAT: 'json',
    WHORL_LOG_LEVEL: 'info',
    WHORL_BUILDKITE_TOKEN: secrets.token,
    WHORL_BUILDKITE_ORG: 'acme',
    WHORL_BUILDKITE_RATE: '6000',
    WHORL_BUILDKITE_WEBHOOK_SECRET: secrets.webhookSecret,
    WHORL_BUILDKITE_WEBHOOK_MODE: 'signature',
    ...Object.fromEntries(Object.entries(scaled).map(([name, [ours]]) => [name, ours])),
  };
}
