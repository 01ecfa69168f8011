import type { AllowRule } from '../allow.ts';
import type { Durations } from '../pipeline/durations.ts';
import type { Address } from './forms.ts';

/** What a process runs as. `up` is all three roles, with services of its own where none are configured. */
export type Role = 'up' | 'ingest' | 'worker' | 'server';

/** The whole configuration, frozen. Durations are milliseconds. */
export interface Config {
  /** The public host of this spindle, lower-cased, with its port if it has one. */
  readonly hostname: string;
  /** The DID of this spindle's owner. */
  readonly owner: string;
  /** The public face. An empty host means every interface. */
  readonly listen: Address;
  /** Webhooks and health of an ingest role that runs alone. */
  readonly webhooks: Address;
  /** Health of the worker role. */
  readonly health: Address;
  /** Of `/metrics` alone. Absent: with the rest of the role. */
  readonly metrics?: Address;
  readonly database: DatabaseConfig;
  /** Plain `ws://` and `http://` towards knots and services. */
  readonly dev: boolean;
  readonly log: LogConfig;
  readonly temporal: TemporalConfig;
  /** Absent when no token is set. */
  readonly buildkite?: BuildkiteConfig;
  readonly taskQueue: string;
  /** How long a process that was told to stop may finish what is under way. */
  readonly drainMs: number;
  /** How long of this it still takes requests, and says that it is leaving. */
  readonly drainNoticeMs: number;
  /** How long the contents of what came in and went out are kept, days. */
  readonly keepDays: number;
  readonly dispatch: DispatchConfig;
  readonly events: { readonly rewindMs: number };
  readonly readers: ReadersConfig;
  readonly network: NetworkConfig;
  readonly logs: LogsConfig;
  /** Plain data: part of a workflow's input. What has no setting has the pipeline's own default. */
  readonly durations: Durations;
  /** How often the builds of the `fake` provider are looked at. */
  readonly fake: { readonly pollMs: number };
}

/** What commands need that only look or ask: they work without an identity. */
export type ToolConfig = Omit<Config, 'hostname' | 'owner'> & Partial<Pick<Config, 'hostname' | 'owner'>>;

export interface DatabaseConfig {
  /** Holds a password. Absent: the embedded PostgreSQL under `dir`. */
  readonly url?: string;
  /** The folder of embedded services, as written. */
  readonly dir: string;
}

export interface LogConfig {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
  readonly format: 'auto' | 'json' | 'pretty';
}

/** Where Temporal is, is read by `@temporalio/envconfig` from the `TEMPORAL_*` names, and from nowhere else. */
export interface TemporalConfig {
  /** Whether `TEMPORAL_ADDRESS`, `TEMPORAL_CONFIG_FILE` or `TEMPORAL_PROFILE` is set. If not: our own dev server. */
  readonly configured: boolean;
  /** The `temporal` program to start for that. */
  readonly cli?: string;
}

export interface BuildkiteConfig {
  /** Ask at each use: a token in a file is read again, so that it can be replaced while we run. */
  readonly token: () => string;
  readonly org?: string;
  /** One webhook secret, or two during a rotation. Ask at each use. */
  readonly secrets: () => readonly string[];
  readonly mode: 'token' | 'signature';
  /** Without a slash at its end. */
  readonly apiUrl: string;
  /** Of all processes together. */
  readonly requestsPerMinute: number;
  /** Absent: every pipeline of `org`. */
  readonly allow?: readonly AllowRule[];
}

export interface DispatchConfig {
  /** Calls to Temporal under way at once. */
  readonly concurrency: number;
  /** How long a trigger of an unknown repository is kept. */
  readonly holdMs: number;
}

export interface NetworkConfig {
  /** `ws(s)://…/subscribe`, in the order of preference. Empty: only pinned repositories are served. */
  readonly jetstream: readonly string[];
  /** Without a slash at its end. */
  readonly plcUrl: string;
}

/** How many may read `/events` and `/logs` of a process at once. */
export interface ReadersConfig {
  readonly most: number;
  readonly mostPerAddress: number;
  /** Addresses and networks (`10.0.0.0/8`). */
  readonly trustedProxies: readonly string[];
}

/** What is kept of the logs of jobs. */
export interface LogsConfig {
  readonly days: number;
  /** Of one log, before compression. */
  readonly maxBytes: number;
  /** Of all logs, compressed. */
  readonly spaceBytes: number;
  /** SGR codes stay in what `/logs` sends. */
  readonly colours: boolean;
  /** Everything that must not be seen in a log: the values of secret settings as they are now. */
  readonly secrets: () => readonly string[];
}
