import { allowRules } from './allow.ts';
import { duration } from './duration.ts';
import * as form from './forms.ts';
import type { Setting } from './setting.ts';
import { timings } from './timings.ts';

/** Everything that Whorl reads from its environment. `docs/configuration.md` is made of this. */
export const settings = {
  hostname: {
    name: 'WHORL_HOSTNAME',
    group: 'Identity',
    form: form.host,
    required: true,
    description:
      'The public host of this spindle: what people enter as the spindle of their repository. Lower-cased. Without scheme.',
    example: 'spindle.example.com',
    alias: { name: 'TACK_HOSTNAME' },
  },
  owner: {
    name: 'WHORL_OWNER_DID',
    group: 'Identity',
    form: form.did,
    required: true,
    description: 'The DID of the person who runs this spindle and decides about its members.',
    example: 'did:plc:z72i7hdynmk6r22z27h6tvur',
    alias: { name: 'TACK_OWNER_DID' },
  },
  listen: {
    name: 'WHORL_LISTEN_ADDR',
    group: 'Addresses',
    form: form.address,
    default: ':8080',
    description:
      'Where the public face listens: `/events`, `/logs`, who we are, and health. `whorl up` takes webhooks here too. Port 0 means any free port.',
    example: '127.0.0.1:8080',
    alias: { name: 'TACK_LISTEN_ADDR' },
  },
  webhooks: {
    name: 'WHORL_WEBHOOK_ADDR',
    group: 'Addresses',
    form: form.address,
    default: ':8081',
    description: 'Where the ingest role listens for webhooks, and for its health, when it runs alone.',
    example: '[::1]:8081',
  },
  health: {
    name: 'WHORL_HEALTH_ADDR',
    group: 'Addresses',
    form: form.address,
    default: ':8082',
    description: 'Where the worker role answers for its health.',
    example: ':8082',
  },
  metrics: {
    name: 'WHORL_METRICS_ADDR',
    group: 'Addresses',
    form: form.address,
    description:
      'Where a role answers `/metrics`, apart from all else. Unset: on its own address, next to `/healthz`; a proxy in front of that should not pass it on.',
    example: '127.0.0.1:9464',
  },
  databaseUrl: {
    name: 'WHORL_DATABASE_URL',
    group: 'Storage',
    form: form.postgresUrl,
    secret: true,
    hide: form.hidePassword,
    description:
      'The PostgreSQL that holds everything Whorl knows. Unset: `whorl up` runs its own under `WHORL_DATA_DIR`; the single roles need it.',
    example: 'postgres://whorl:password@localhost:5432/whorl',
  },
  dataDir: {
    name: 'WHORL_DATA_DIR',
    group: 'Storage',
    form: form.text,
    default: '.whorl',
    description: 'The folder of the services that `whorl up` runs itself.',
    example: '/var/lib/whorl',
  },
  jetstream: {
    name: 'WHORL_JETSTREAM_URL',
    group: 'Network',
    form: form.webSocketUrls,
    default:
      'wss://jetstream2.us-east.bsky.network/subscribe,wss://jetstream1.us-east.bsky.network/subscribe,wss://jetstream2.us-west.bsky.network/subscribe,wss://jetstream1.us-west.bsky.network/subscribe',
    description:
      'Where the records of members and repositories come from: one jetstream, or several with commas between, of which the next is taken when one is gone. `off`: only repositories that are pinned by hand are served.',
    example: 'wss://jetstream.example.com/subscribe',
    alias: { name: 'TACK_JETSTREAM_URL' },
  },
  plcUrl: {
    name: 'WHORL_PLC_URL',
    group: 'Network',
    form: form.httpUrl,
    default: 'https://plc.directory',
    description: 'The directory that says where the account of a `did:plc` lives.',
    example: 'https://plc.example.com',
  },
  maxReaders: {
    name: 'WHORL_MAX_READERS',
    group: 'Limits',
    form: form.wholeNumber(1, 1_000_000),
    default: '2000',
    description:
      'How many may read `/events` and `/logs` of one process at once. More are answered with 503 and told to come back.',
    example: '10000',
  },
  maxReadersPerAddress: {
    name: 'WHORL_MAX_READERS_PER_ADDRESS',
    group: 'Limits',
    form: form.wholeNumber(1, 1_000_000),
    default: '50',
    description:
      'The same for one address, or one IPv6 network of 64 bits; more are answered with 429. Behind a proxy it needs `WHORL_TRUSTED_PROXIES`: unless that is set, addresses that are not public have no limit of their own, since everybody may be behind them.',
    example: '200',
  },
  trustedProxies: {
    name: 'WHORL_TRUSTED_PROXIES',
    group: 'Limits',
    form: form.networks,
    description:
      'The proxies in front of the public face, with commas between: addresses or networks. Only what these say in `X-Forwarded-For` counts as the address of a reader.',
    example: '10.0.0.0/8, ::1',
  },
  keepDays: {
    name: 'WHORL_KEEP_DAYS',
    group: 'Storage',
    form: form.wholeNumber(1, 3650),
    default: '30',
    description:
      'How many days the contents of what came in and went out are kept: webhooks, quarantined rows, statuses that newer ones have overtaken. Keys stay for ever, so that nothing counts twice.',
    example: '90',
  },
  logDays: {
    name: 'WHORL_LOG_DAYS',
    group: 'Logs',
    form: form.wholeNumber(1, 3650),
    default: '30',
    description: 'How many days the log of a job is kept. The CI may keep it longer.',
    example: '90',
  },
  logSize: {
    name: 'WHORL_LOG_MIB',
    group: 'Logs',
    form: form.wholeNumber(1, 1024),
    default: '64',
    description:
      'How much is kept of one log, in MiB before compression. Of a longer one the middle is left out, and a line says so.',
    example: '16',
  },
  logSpace: {
    name: 'WHORL_LOG_SPACE_GIB',
    group: 'Logs',
    form: form.wholeNumber(1, 100_000),
    default: '20',
    description: 'How much all logs together may take in the database, in GiB. The oldest go first.',
    example: '200',
  },
  logColours: {
    name: 'WHORL_LOG_COLOURS',
    group: 'Logs',
    form: form.flag,
    default: 'false',
    description:
      'Leave the colours of the terminal (SGR codes) in what `/logs` sends, for appviews that render them. `whorl logs` always has them.',
    example: 'true',
  },
  dev: {
    name: 'WHORL_DEV',
    group: 'Behaviour',
    form: form.flag,
    default: 'false',
    description:
      'Speak plain `ws://` and `http://` to knots and services, and call private addresses that records name. For trying things on one machine.',
    example: 'true',
    alias: { name: 'TACK_DEV', form: form.anyText, note: 'any text means on, `0` and `false` too' },
  },
  logLevel: {
    name: 'WHORL_LOG_LEVEL',
    group: 'Behaviour',
    form: form.oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
    default: 'info',
    description: 'The least level that is logged.',
    example: 'debug',
  },
  logFormat: {
    name: 'WHORL_LOG_FORMAT',
    group: 'Behaviour',
    form: form.oneOf('auto', 'json', 'pretty'),
    default: 'auto',
    description:
      '`auto` is `pretty` on a terminal and `json` elsewhere. Without the package `pino-pretty` it is always `json`.',
    example: 'json',
  },
  drainTime: {
    name: 'WHORL_DRAIN_TIME',
    group: 'Behaviour',
    form: duration('1ms'),
    default: '20s',
    description:
      'How long a process that was told to stop (SIGTERM) may finish what is under way. What has not ended then is handed over: another process does it again.',
    example: '1m',
  },
  drainNotice: {
    name: 'WHORL_DRAIN_NOTICE',
    group: 'Behaviour',
    form: duration('0s'),
    default: '2s',
    description:
      'How long of this an ingest or server role still answers while its `/readyz` says 503, so that a load balancer lets go of it. At most a quarter of WHORL_DRAIN_TIME. `whorl up` gives no notice.',
    example: '10s',
  },
  taskQueue: {
    name: 'WHORL_TASK_QUEUE',
    group: 'Behaviour',
    form: form.word,
    default: 'whorl',
    description: 'The Temporal task queue that dispatch and workers share.',
    example: 'whorl-staging',
  },
  dispatchConcurrency: {
    name: 'WHORL_DISPATCH_CONCURRENCY',
    group: 'Behaviour',
    form: form.wholeNumber(1, 256),
    default: '16',
    description: 'How many calls to Temporal one ingest process has under way at once.',
    example: '32',
  },
  temporalCli: {
    name: 'WHORL_TEMPORAL_CLI',
    group: 'Behaviour',
    form: form.text,
    description:
      'The `temporal` program that `whorl up` starts when no Temporal is configured. Unset: it is looked for.',
    example: '/usr/local/bin/temporal',
  },
  buildkiteToken: {
    name: 'WHORL_BUILDKITE_TOKEN',
    group: 'Buildkite',
    form: form.word,
    secret: true,
    description:
      'API token with `read_builds`, `write_builds` and `read_build_logs`. Setting it turns Buildkite on. The file is read again at each use, so a new token needs no restart.',
    example: 'bkua_0123456789abcdef',
    alias: { name: 'TACK_BUILDKITE_TOKEN' },
  },
  buildkiteOrg: {
    name: 'WHORL_BUILDKITE_ORG',
    group: 'Buildkite',
    form: form.word,
    description: 'The organisation of workflow files that name none.',
    example: 'acme',
    alias: { name: 'TACK_BUILDKITE_ORG' },
  },
  buildkiteSecrets: {
    name: 'WHORL_BUILDKITE_WEBHOOK_SECRET',
    group: 'Buildkite',
    form: form.secretPair,
    secret: true,
    description:
      'The token of the webhook service at Buildkite. Needed with a token. Two values with a comma between are both taken while you change it.',
    example: 'new-secret,old-secret',
    alias: { name: 'TACK_BUILDKITE_WEBHOOK_SECRET', form: form.oneSecret, note: 'one value; a comma is part of it' },
  },
  buildkiteMode: {
    name: 'WHORL_BUILDKITE_WEBHOOK_MODE',
    group: 'Buildkite',
    form: form.oneOf('token', 'signature'),
    default: 'token',
    description:
      'How Buildkite proves itself: the secret in `X-Buildkite-Token`, or an HMAC in `X-Buildkite-Signature`.',
    example: 'signature',
    alias: { name: 'TACK_BUILDKITE_WEBHOOK_MODE' },
  },
  buildkiteApiUrl: {
    name: 'WHORL_BUILDKITE_API_URL',
    group: 'Buildkite',
    form: form.httpUrl,
    default: 'https://api.buildkite.com/v2',
    description: "Buildkite's REST API.",
    example: 'http://localhost:9000/v2',
  },
  buildkiteRate: {
    name: 'WHORL_BUILDKITE_RATE',
    group: 'Buildkite',
    form: form.wholeNumber(1, 100_000),
    default: '50',
    description:
      'Requests a minute that all processes together may make with the token. Buildkite allows its user 50, and the organisation 200.',
    example: '100',
  },
  buildkiteAllow: {
    name: 'WHORL_BUILDKITE_ALLOW',
    group: 'Buildkite',
    form: allowRules,
    description:
      'Which repositories may use which pipelines: `did-or-handle/repo -> org/pipeline` (or `=>`, `→`), with `*` and the other globs on both sides. A handle counts while it is the account’s own, by its DNS record or its host. Unset: every repository may use every pipeline of `WHORL_BUILDKITE_ORG`.',
    example: 'alice.example/* -> acme/*, did:plc:z72i7hdynmk6r22z27h6tvur/site -> acme/site',
  },
  eventsRewind: {
    name: 'WHORL_EVENTS_REWIND',
    group: 'Timing',
    form: duration('0s'),
    default: '30s',
    description: 'How long before its cursor a reader of `/events` starts, because readers resume by their own clock.',
    example: '1m',
  },
  holdTime: {
    name: 'WHORL_HOLD_TIME',
    group: 'Timing',
    form: duration(),
    default: '15m',
    description: 'How long a trigger of an unknown repository is kept, in case the record that names us is late.',
    example: '1h',
  },
  ...timings,
} as const satisfies Record<string, Setting>;
