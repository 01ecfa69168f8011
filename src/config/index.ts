import { readFileSync } from 'node:fs';
import { defaultDurations, type Durations } from '../pipeline/durations.ts';
import { checkRole, checkTemporalFile, checkTogether, temporalIsConfigured } from './checks.ts';
import { ConfigError } from './error.ts';
import { type Effective, type Environment, type ReadFile, type Reading, readSettings, type Values } from './read.ts';
import type { BuildkiteConfig, Config, Role, ToolConfig } from './types.ts';
import { warnOfUnknown } from './unknown.ts';

export { ConfigError, type Problem } from './error.ts';
export type { Address } from './forms.ts';
export type { Effective, Environment, ReadFile } from './read.ts';
export type * from './types.ts';

export interface Loaded<C> {
  readonly config: C;
  /** Sentences for the log. They hold no secret. */
  readonly warnings: readonly string[];
  /** Each setting as it holds now, with secrets hidden. */
  readonly effective: readonly Effective[];
}

const readText: ReadFile = (path) => readFileSync(path, 'utf8');

/**
 * The configuration of a process.
 * @param role what the process runs as: the single roles need services that `up` can bring itself
 * @throws {ConfigError} which lists everything that is wrong
 */
export function loadConfig(env: Environment, readFile = readText, role: Role = 'up'): Loaded<Config> {
  const { config, ...loaded } = load(env, readFile, role);
  // The check of the role has refused a missing identity.
  return { config: config as Config, ...loaded };
}

/**
 * The configuration of a command that only looks or asks (`migrate`, `repos`, `show`, …) and needs no identity.
 * @throws {ConfigError} which lists everything that is wrong
 */
export function loadToolConfig(env: Environment, readFile = readText): Loaded<ToolConfig> {
  return load(env, readFile);
}

function load(env: Environment, readFile: ReadFile, role?: Role): Loaded<ToolConfig> {
  const reading = readSettings(env, readFile);
  const together = checkTogether(reading);
  const problems = [
    ...reading.problems,
    ...together.problems,
    ...(role ? checkRole(role, reading, env) : []),
    ...checkTemporalFile(env, readFile),
  ];
  if (problems.length > 0) throw new ConfigError(problems);
  const warnings = [...reading.warnings, ...together.warnings, ...warnOfUnknown(env)];
  return { config: freeze(configOf(reading, env)), warnings, effective: reading.effective };
}

function configOf(reading: Reading, env: Environment): ToolConfig {
  const values = reading.values as Values;
  return {
    ...present('hostname', values.hostname),
    ...present('owner', values.owner),
    listen: values.listen,
    webhooks: values.webhooks,
    health: values.health,
    database: { ...present('url', values.databaseUrl), dir: values.dataDir },
    dev: values.dev,
    log: { level: values.logLevel, format: values.logFormat },
    temporal: { configured: temporalIsConfigured(env), ...present('cli', values.temporalCli) },
    ...present('buildkite', buildkiteOf(values, reading.live)),
    ...present('metrics', values.metrics),
    taskQueue: values.taskQueue,
    drainMs: values.drainTime,
    drainNoticeMs: values.drainNotice,
    keepDays: values.keepDays,
    dispatch: { concurrency: values.dispatchConcurrency, holdMs: values.holdTime },
    events: { rewindMs: values.eventsRewind },
    readers: {
      most: values.maxReaders,
      mostPerAddress: values.maxReadersPerAddress,
      trustedProxies: values.trustedProxies ?? [],
    },
    network: { jetstream: values.jetstream, plcUrl: values.plcUrl },
    logs: {
      days: values.logDays,
      maxBytes: values.logSize * 2 ** 20,
      spaceBytes: values.logSpace * 2 ** 30,
      colours: values.logColours,
      secrets: secretsOf(values, reading.live, env),
    },
    durations: durationsOf(values),
    fake: { pollMs: values.fakePoll },
  };
}

function buildkiteOf(values: Values, live: Reading['live']): BuildkiteConfig | undefined {
  const { buildkiteToken: token, buildkiteSecrets: secrets } = values;
  if (token === undefined || secrets === undefined) return undefined;
  return {
    token: live('buildkiteToken', token),
    secrets: live('buildkiteSecrets', secrets),
    mode: values.buildkiteMode,
    apiUrl: values.buildkiteApiUrl,
    requestsPerMinute: values.buildkiteRate,
    ...present('org', values.buildkiteOrg),
    ...present('allow', values.buildkiteAllow),
  };
}

/** What a log must not show, as it is now: a token that was just replaced counts too. */
function secretsOf(values: Values, live: Reading['live'], env: Environment): () => readonly string[] {
  const { buildkiteToken, buildkiteSecrets, databaseUrl } = values;
  const token = buildkiteToken === undefined ? () => '' : live('buildkiteToken', buildkiteToken);
  const webhooks = buildkiteSecrets === undefined ? () => [] : live('buildkiteSecrets', buildkiteSecrets);
  const fixed = [passwordOf(databaseUrl ?? ''), env['TEMPORAL_API_KEY'] ?? ''];
  return () => [token(), ...webhooks(), ...fixed].filter((secret) => secret !== '');
}

/** As it is meant: a URL has it percent-encoded. One that is the user's name again is no secret, but an ordinary word. */
function passwordOf(url: string): string {
  const [, user, written = ''] = /^[a-z]+:\/\/([^:/@]*):(.*)@/s.exec(url) ?? [];
  if (written === user) return '';
  try {
    return decodeURIComponent(written);
  } catch {
    return written;
  }
}

const durationsOf = (values: Values): Durations => ({
  ...defaultDurations,
  silence: values.silenceFirst,
  silenceMax: values.silenceMax,
  deadline: values.buildDeadline,
  parkLimit: values.parkLimit,
  resend: values.resend,
  cancelConfirm: values.cancelConfirm,
  sweeps: values.sweeps,
  looks: values.createLooks,
  createTimeout: values.createTimeout,
  readTimeout: values.readTimeout,
  publishTimeout: values.publishTimeout,
  retryMax: values.retryMax,
});

/** A property that is absent rather than undefined, as exact optional types want it. */
function present<K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { readonly [P in K]: V });
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(value).forEach(freeze);
  return Object.freeze(value);
}
