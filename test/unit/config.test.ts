import { describe, expect, test } from 'vitest';
import { allows } from '../../src/allow.ts';
import { parseDuration } from '../../src/config/duration.ts';
import { ConfigError, type Environment, loadConfig, loadToolConfig, type Role } from '../../src/config/index.ts';
import { defaultDurations } from '../../src/pipeline/durations.ts';
import { settings } from '../../src/config/settings.ts';

const owner = 'did:plc:z72i7hdynmk6r22z27h6tvur';
const identity = { WHORL_HOSTNAME: 'spindle.example.com', WHORL_OWNER_DID: owner };
const buildkite = {
  WHORL_BUILDKITE_TOKEN: 'bkua_token',
  WHORL_BUILDKITE_WEBHOOK_SECRET: 'hook',
  WHORL_BUILDKITE_ORG: 'acme',
};

const noFiles = (path: string): string => {
  throw new Error(`ENOENT: no such file or directory, open '${path}'`);
};
const files = (texts: Record<string, string>) => (path: string) => texts[path] ?? noFiles(path);

const load = (env: Environment, readFile = noFiles) => loadConfig({ ...identity, ...env }, readFile);

function problemsOf(env: Environment, readFile = noFiles, role?: Role) {
  try {
    loadConfig(env, readFile, role);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}
const namesOf = (...args: Parameters<typeof problemsOf>) => problemsOf(...args).map(({ name }) => name);

describe('defaults', () => {
  test('an identity is enough for `whorl up`, and the rest is as documented', () => {
    const { config, warnings } = load({});
    expect(warnings).toEqual([]);
    expect(config).toEqual({
      hostname: 'spindle.example.com',
      owner,
      listen: { host: '', port: 8080 },
      webhooks: { host: '', port: 8081 },
      health: { host: '', port: 8082 },
      database: { dir: '.whorl' },
      dev: false,
      log: { level: 'info', format: 'auto' },
      temporal: { configured: false },
      drainMs: 20_000,
      drainNoticeMs: 2_000,
      keepDays: 30,
      taskQueue: 'whorl',
      dispatch: { concurrency: 16, holdMs: 900_000 },
      events: { rewindMs: 30_000 },
      readers: { most: 2_000, mostPerAddress: 50, trustedProxies: [] },
      network: {
        jetstream: ['us-east', 'us-west'].flatMap((place) =>
          [2, 1].map((n) => `wss://jetstream${n}.${place}.bsky.network/subscribe`),
        ),
        plcUrl: 'https://plc.directory',
      },
      logs: {
        days: 30,
        maxBytes: 64 * 1024 * 1024,
        spaceBytes: 20 * 1024 ** 3,
        colours: false,
        secrets: expect.any(Function),
      },
      durations: defaultDurations,
      fake: { pollMs: 1_000 },
    });
  });

  test('the durations survive JSON, because they are the input of a workflow', () => {
    const { durations } = load({}).config;
    expect(JSON.parse(JSON.stringify(durations))).toEqual(durations);
  });

  test('nothing of the configuration can be changed', () => {
    const { config } = load({ ...buildkite, WHORL_BUILDKITE_ALLOW: 'a/b -> c/d' });
    for (const part of [
      config,
      config.listen,
      config.durations,
      config.durations.sweeps,
      config.buildkite?.allow?.[0],
    ]) {
      expect(Object.isFrozen(part)).toBe(true);
    }
  });

  test('every setting takes its own example', () => {
    for (const { name, form, example } of Object.values(settings)) {
      expect(form.schema.safeParse(example), name).toMatchObject({ success: true });
    }
  });
});

describe('problems', () => {
  test('are reported all at once, each with its name, what is wrong and an example', () => {
    const env = {
      WHORL_HOSTNAME: 'https://spindle.example.com/',
      WHORL_OWNER_DID: 'alice.example',
      WHORL_LISTEN_ADDR: '8080',
      WHORL_DEV: 'maybe',
      WHORL_HOLD_TIME: '900',
      WHORL_LOG_LEVEL: 'loud',
      WHORL_DISPATCH_CONCURRENCY: '0',
      WHORL_BUILDKITE_TOKEN: 'bkua token',
      WHORL_BUILDKITE_API_URL: 'api.buildkite.com',
    };
    const found = problemsOf(env);
    expect(found.map(({ name }) => name).sort()).toEqual(Object.keys(env).sort());
    const message = new ConfigError(found).message;
    expect(message).toContain('9 problems');
    for (const { name, example } of found) {
      expect(message).toContain(`  ${name} must be`);
      expect(message).toContain(`for example: ${example}`);
    }
  });

  test('a missing identity is one for the roles, and none for a command that only looks', () => {
    expect(namesOf({})).toEqual(['WHORL_HOSTNAME', 'WHORL_OWNER_DID']);
    const { config } = loadToolConfig({}, noFiles);
    expect('hostname' in config || 'owner' in config).toBe(false);
  });

  test.each([
    ['up', []],
    ['server', ['WHORL_DATABASE_URL']],
    ['ingest', ['WHORL_DATABASE_URL', 'TEMPORAL_ADDRESS']],
    ['worker', ['WHORL_DATABASE_URL', 'TEMPORAL_ADDRESS']],
  ] as const)('`whorl %s` misses the services that it cannot bring itself: %j', (role, missing) => {
    expect(namesOf(identity, noFiles, role)).toEqual(missing);
  });

  test('an empty value counts as none', () => {
    expect(namesOf({ WHORL_HOSTNAME: '', TACK_HOSTNAME: '', WHORL_OWNER_DID: owner })).toEqual(['WHORL_HOSTNAME']);
    expect(load({ WHORL_LISTEN_ADDR: '', WHORL_DEV: '', TACK_DEV: '' }).config).toMatchObject({
      listen: { port: 8080 },
      dev: false,
    });
  });

  test('never show a secret', () => {
    const secret = 'hunter2 hunter2';
    const env = { WHORL_BUILDKITE_TOKEN: secret, WHORL_BUILDKITE_WEBHOOK_SECRET: secret, WHORL_DATABASE_URL: secret };
    const found = problemsOf({ ...identity, ...env });
    expect(found).toHaveLength(3);
    expect(JSON.stringify(found)).not.toContain('hunter2');
  });

  test('the longest silence must not be shorter than the first', () => {
    expect(namesOf({ ...identity, WHORL_SILENCE_FIRST: '2h' })).toEqual(['WHORL_SILENCE_MAX']);
  });

  test("a file of Temporal's that is not there is one", () => {
    expect(namesOf({ ...identity, TEMPORAL_CONFIG_FILE: '/etc/temporal.toml' })).toEqual(['TEMPORAL_CONFIG_FILE']);
  });
});

describe('values', () => {
  test.each([
    [':8080', '', 8080],
    [':0', '', 0],
    ['127.0.0.1:8080', '127.0.0.1', 8080],
    ['[::1]:8080', '::1', 8080],
    ['localhost:9', 'localhost', 9],
  ])('the address %s is host %j and port %i', (text, host, port) => {
    expect(load({ WHORL_LISTEN_ADDR: text }).config.listen).toEqual({ host, port });
  });

  test.each(['8080', '::1:8080', ':65536', 'http://localhost:8080', 'localhost', ':-1', ': 80'])(
    'the address %s is refused',
    (text) => {
      expect(namesOf({ ...identity, WHORL_LISTEN_ADDR: text })).toEqual(['WHORL_LISTEN_ADDR']);
    },
  );

  test.each([
    ['Spindle.Example.COM', 'spindle.example.com'],
    ['localhost:5555', 'localhost:5555'],
    ['10.0.0.1', '10.0.0.1'],
  ])('the host %s is taken as %s', (text, host) => {
    expect(load({ WHORL_HOSTNAME: text }).config.hostname).toBe(host);
  });

  test.each(['wss://x.example', 'x.example/', 'x.example:0', 'x.example:99999', 'x y', '.example', 'x..example'])(
    'the host %s is refused',
    (text) => {
      expect(namesOf({ ...identity, WHORL_HOSTNAME: text })).toEqual(['WHORL_HOSTNAME']);
    },
  );

  test('an owner is a did:plc or a did:web', () => {
    expect(load({ WHORL_OWNER_DID: 'did:web:alice.example' }).config.owner).toBe('did:web:alice.example');
    for (const bad of ['did:plc:short', 'did:key:z6Mk', '@alice.example', `${owner} `.repeat(2)]) {
      expect(namesOf({ ...identity, WHORL_OWNER_DID: bad }), bad).toEqual(['WHORL_OWNER_DID']);
    }
  });

  test.each([
    ['250ms', 250],
    ['90s', 90_000],
    ['15m', 900_000],
    ['2h', 7_200_000],
    ['1h30m', 5_400_000],
    ['1m30s500ms', 90_500],
    ['0s', 0],
  ])('the duration %s is %i ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each(['', '90', '1.5h', '30m1h', '1 h', '-1s', '1d', 's', '600h'])('the duration %j is refused', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  test('a plain number is refused with an example, alone and in a list', () => {
    const found = problemsOf({ ...identity, WHORL_RESEND_AFTER: '45', WHORL_SWEEP_AFTER: '1m,5' });
    expect(found.map(({ example }) => example)).toEqual(['WHORL_RESEND_AFTER=1m', 'WHORL_SWEEP_AFTER=1m,10m']);
    expect(found[0]?.wrong).toMatch(/with a unit.*plain number.*"45"/);
  });

  test('only the rewind of /events may be nothing', () => {
    expect(load({ WHORL_EVENTS_REWIND: '0s' }).config.events.rewindMs).toBe(0);
    expect(namesOf({ ...identity, WHORL_CREATE_TIMEOUT: '0s' })).toEqual(['WHORL_CREATE_TIMEOUT']);
  });

  test.each(['TEMPORAL_ADDRESS', 'TEMPORAL_PROFILE', 'TEMPORAL_CONFIG_FILE'])(
    '%s says that a Temporal is configured',
    (name) => {
      expect(load({ [name]: 'x' }, () => '').config.temporal.configured).toBe(true);
    },
  );

  test.each([
    'postgres://whorl:pw@localhost:5432/whorl',
    'postgresql://h1:5432,h2:5432/whorl?target_session_attrs=read-write',
    'postgres://u:p,w@h1,h2/db',
    'postgres:///whorl?host=/run/postgresql',
  ])('the database URL %s is taken as it is', (url) => {
    expect(load({ WHORL_DATABASE_URL: url }).config.database.url).toBe(url);
  });

  test.each(['mysql://h/db', 'localhost/db', 'postgres://u:pa/ss@h/db', 'postgres://'])(
    'the database URL %s is refused',
    (url) => {
      expect(namesOf({ ...identity, WHORL_DATABASE_URL: url })).toEqual(['WHORL_DATABASE_URL']);
    },
  );
});

describe('secrets in files', () => {
  const env = { ...buildkite, WHORL_BUILDKITE_TOKEN: undefined, WHORL_BUILDKITE_TOKEN_FILE: '/run/token' };

  test('a line break at the end is dropped', () => {
    expect(load(env, files({ '/run/token': 'from-file\r\n' })).config.buildkite?.token()).toBe('from-file');
  });

  test('a token that was replaced is seen at its next use, and one that cannot be read keeps the last', () => {
    const texts: Record<string, string> = { '/run/token': 'first\n' };
    const token = load(env, files(texts)).config.buildkite?.token;
    expect(token?.()).toBe('first');
    texts['/run/token'] = 'second\n';
    expect(token?.()).toBe('second');
    texts['/run/token'] = '';
    expect(token?.()).toBe('second');
    delete texts['/run/token'];
    expect(token?.()).toBe('second');
    texts['/run/token'] = 'third';
    expect(token?.()).toBe('third');
  });

  test('webhook secrets in a file can be rotated while we run', () => {
    const texts: Record<string, string> = { '/run/hook': 'old\n' };
    const secretEnv = {
      ...buildkite,
      WHORL_BUILDKITE_WEBHOOK_SECRET: '',
      WHORL_BUILDKITE_WEBHOOK_SECRET_FILE: '/run/hook',
    };
    const secrets = load(secretEnv, files(texts)).config.buildkite?.secrets;
    expect(secrets?.()).toEqual(['old']);
    texts['/run/hook'] = 'new, old\n';
    expect(secrets?.()).toEqual(['new', 'old']);
  });

  test('a name and its file together, a file that is missing, and one that is empty are problems', () => {
    const both = { ...identity, ...env, WHORL_BUILDKITE_TOKEN: 'plain' };
    expect(problemsOf(both, files({ '/run/token': 'x' }))[0]?.wrong).toContain(
      'WHORL_BUILDKITE_TOKEN_FILE are both set',
    );
    expect(problemsOf({ ...identity, ...env })).toMatchObject([
      { name: 'WHORL_BUILDKITE_TOKEN_FILE', wrong: expect.stringContaining('cannot be read: ENOENT') },
    ]);
    expect(problemsOf({ ...identity, ...env }, files({ '/run/token': '\n' }))).toMatchObject([
      { name: 'WHORL_BUILDKITE_TOKEN_FILE', wrong: expect.stringContaining('empty file') },
    ]);
  });

  test('every secret has a file, the database URL too', () => {
    const url = 'postgres://whorl:pw@db/whorl';
    const databaseEnv = { WHORL_DATABASE_URL_FILE: '/run/db' };
    expect(load(databaseEnv, files({ '/run/db': `${url}\n` })).config.database.url).toBe(url);
  });
});

describe('names of tack', () => {
  test('configure the same spindle', () => {
    const tack = {
      TACK_HOSTNAME: 'tack.example.com',
      TACK_OWNER_DID: owner,
      TACK_LISTEN_ADDR: ':9999',
      TACK_BUILDKITE_TOKEN: 'token',
      TACK_BUILDKITE_ORG: 'acme',
      TACK_BUILDKITE_WEBHOOK_SECRET: 'a,b',
    };
    const { config } = loadConfig(tack, noFiles);
    expect(config).toMatchObject({ hostname: 'tack.example.com', owner, listen: { port: 9999 }, dev: false });
    expect(config.buildkite).toMatchObject({ org: 'acme', mode: 'token' });
    expect(config.buildkite?.token()).toBe('token');
    expect(config.buildkite?.secrets()).toEqual(['a,b']);
  });

  test.each(['1', '0', 'false', 'no', ' '])('TACK_DEV=%j means on, as any text does', (text) => {
    expect(load({ TACK_DEV: text }).config.dev).toBe(true);
  });

  test('WHORL_DEV is a real switch', () => {
    expect(load({ WHORL_DEV: '1' }).config.dev).toBe(true);
    expect(load({ WHORL_DEV: '0' }).config.dev).toBe(false);
  });

  test('TACK_JETSTREAM_URL is where records come from', () => {
    const url = 'wss://jetstream.example.com/subscribe';
    expect(load({ TACK_JETSTREAM_URL: url }).config.network.jetstream).toEqual([url]);
  });

  test('our name wins, with a warning only if they differ', () => {
    const { config, warnings } = load({ WHORL_DEV: 'false', TACK_DEV: '0' });
    expect(config.dev).toBe(false);
    expect(warnings).toEqual(['WHORL_DEV and TACK_DEV are both set and differ; WHORL_DEV is used']);
    expect(load({ TACK_HOSTNAME: 'SPINDLE.example.com' }).warnings).toEqual([]);
  });

  test.each([
    ['TACK_DB_PATH', /PostgreSQL: set WHORL_DATABASE_URL, or WHORL_DATA_DIR.*not read.*from the network again/],
    ['TACK_BUILDKITE_PIPELINE', /workflow file names its pipeline/],
    ['TACK_TEKTON_ENABLED', /no Tekton provider/],
    ['TACK_SOURCEHUT_TOKEN', /no sourcehut provider/],
  ])('%s gets a warning that says what to do', (name, advice) => {
    const { warnings } = load({ [name]: 'x' });
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(advice);
    expect(warnings[0]).toMatch(new RegExp(`^${name} `));
  });
});

describe('jetstream', () => {
  test('several hosts stay in their order, and off means none', () => {
    const hosts = 'ws://a.example:6008/subscribe, wss://b.example/subscribe';
    expect(load({ WHORL_JETSTREAM_URL: hosts }).config.network.jetstream).toEqual(hosts.split(', '));
    expect(load({ WHORL_JETSTREAM_URL: 'off' }).config.network.jetstream).toEqual([]);
  });

  test.each([
    'https://a.example/subscribe',
    'a.example',
    'wss://a.example,',
    'wss://u:p@a.example',
    'wss://a.example?x',
  ])('%s is none', (text) =>
    expect(namesOf({ ...identity, WHORL_JETSTREAM_URL: text })).toEqual(['WHORL_JETSTREAM_URL']),
  );
});

describe('what no log may show', () => {
  test('is every secret that is configured, as it is now', () => {
    const texts: Record<string, string> = { '/run/token': 'first-token\n' };
    const { config } = load(
      {
        WHORL_BUILDKITE_ORG: 'acme',
        WHORL_BUILDKITE_TOKEN_FILE: '/run/token',
        WHORL_BUILDKITE_WEBHOOK_SECRET: 'new-hook,old-hook',
        WHORL_DATABASE_URL: 'postgres://whorl:p%40ss@db:5432/whorl',
        TEMPORAL_API_KEY: 'a-key',
      },
      files(texts),
    );
    expect(config.logs.secrets()).toEqual(['first-token', 'new-hook', 'old-hook', 'p@ss', 'a-key']);
    texts['/run/token'] = 'second-token';
    expect(config.logs.secrets()).toContain('second-token');
  });

  test('is nothing when nothing is secret', () => {
    expect(load({}).config.logs.secrets()).toEqual([]);
    expect(load({ WHORL_DATABASE_URL: 'postgres://postgres:postgres@db/whorl' }).config.logs.secrets()).toEqual([]);
  });
});

describe('names that nobody knows', () => {
  test.each([
    ['WHORL_HOSTNAM', 'WHORL_HOSTNAME'],
    ['WHORL_LISTEN_ADDRESS', 'WHORL_LISTEN_ADDR'],
    ['WHORL_BUILDKITE_SECRET', 'WHORL_BUILDKITE_WEBHOOK_SECRET'],
    ['TACK_OWNER', 'TACK_OWNER_DID'],
  ])('%s: did you mean %s?', (name, meant) => {
    expect(load({ [name]: 'x' }).warnings).toEqual([`${name} is not a name that Whorl knows; did you mean ${meant}?`]);
  });

  test('a name that is far from all is said to be unknown, and other programs are left alone', () => {
    expect(load({ WHORL_ZZ: 'x', PATH: '/bin' }).warnings).toEqual([
      'WHORL_ZZ is not a name that Whorl knows, and is not used',
    ]);
  });

  test('a file for what is no secret, and for a name of tack, is explained', () => {
    expect(load({ WHORL_DEV_FILE: '/x', TACK_BUILDKITE_TOKEN_FILE: '/x' }).warnings).toEqual([
      'WHORL_DEV_FILE is not used: only secrets can be given as a file. Set WHORL_DEV',
      "TACK_BUILDKITE_TOKEN_FILE is not used: tack's names have no _FILE. Use WHORL_BUILDKITE_TOKEN_FILE",
    ]);
  });
});

describe('Buildkite', () => {
  test('is absent without a token, with a warning if the rest of it is set', () => {
    const { config, warnings } = load({ WHORL_BUILDKITE_ORG: 'acme', TACK_BUILDKITE_WEBHOOK_MODE: 'signature' });
    expect('buildkite' in config).toBe(false);
    expect(warnings).toEqual([
      'WHORL_BUILDKITE_ORG, TACK_BUILDKITE_WEBHOOK_MODE: no effect without WHORL_BUILDKITE_TOKEN; Buildkite is off',
    ]);
  });

  test('a token without a webhook secret is a problem', () => {
    expect(namesOf({ ...identity, WHORL_BUILDKITE_TOKEN: 'x' })).toEqual(['WHORL_BUILDKITE_WEBHOOK_SECRET']);
  });

  test.each([
    [{}, /every pipeline of acme/],
    [{ WHORL_BUILDKITE_ORG: '' }, /no Buildkite pipeline may be used/],
    [{ WHORL_BUILDKITE_ORG: '', WHORL_BUILDKITE_ALLOW: 'a/b -> c/d' }, /names no `org` will fail/],
  ])('with %j warns of what may be used', (env, warning) => {
    const { warnings } = load({ ...buildkite, ...env });
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(warning);
  });

  test('with an organisation and an allow-list there is nothing to warn of', () => {
    expect(load({ ...buildkite, WHORL_BUILDKITE_ALLOW: 'a/b -> c/d' }).warnings).toEqual([]);
  });

  test('the API URL loses its last slash, and a plain http:// one is warned of outside dev', () => {
    const env = {
      ...buildkite,
      WHORL_BUILDKITE_ALLOW: 'a/b -> c/d',
      WHORL_BUILDKITE_API_URL: 'http://localhost:9000/v2/',
    };
    expect(load(env).config.buildkite?.apiUrl).toBe('http://localhost:9000/v2');
    expect(load(env).warnings).toEqual([expect.stringContaining('in clear')]);
    expect(load({ ...env, WHORL_DEV: 'true' }).warnings).toEqual([]);
  });

  test('three webhook secrets are too many, and an empty one is none', () => {
    for (const bad of ['a,b,c', 'a,', ',']) {
      const env = { ...identity, ...buildkite, WHORL_BUILDKITE_WEBHOOK_SECRET: bad };
      expect(namesOf(env), bad).toEqual(['WHORL_BUILDKITE_WEBHOOK_SECRET']);
    }
  });
});

describe('the allow-list', () => {
  const rulesOf = (text: string) => load({ ...buildkite, WHORL_BUILDKITE_ALLOW: text }).config.buildkite?.allow ?? [];

  test('takes three arrows, commas and lines', () => {
    expect(rulesOf('a.example/x -> acme/x, did:plc:abc/* => acme/*\n  */site→ acme/{site,docs} \n')).toEqual([
      { repo: 'a.example/x', target: 'acme/x' },
      { repo: 'did:plc:abc/*', target: 'acme/*' },
      { repo: '*/site', target: 'acme/{site,docs}' },
    ]);
  });

  test('says which rule is wrong', () => {
    for (const bad of ['a/b', 'a/b -> c', 'a -> b/c', 'a/b -> c/d -> e/f', 'a/b/c -> d/e', 'a b/c -> d/e']) {
      const found = problemsOf({ ...identity, ...buildkite, WHORL_BUILDKITE_ALLOW: `x/y -> z/z, ${bad}` });
      expect(found.map(({ wrong }) => wrong)).toEqual([expect.stringContaining(`"${bad}"`)]);
    }
    expect(namesOf({ ...identity, ...buildkite, WHORL_BUILDKITE_ALLOW: ' , ' })).toEqual(['WHORL_BUILDKITE_ALLOW']);
  });

  test('allows what one rule allows, by any name of the repository', () => {
    const rules = rulesOf('alice.example/* -> acme/*, did:plc:abc/site -> acme/{site,docs}');
    expect(allows(rules, ['did:plc:xyz/tool', 'alice.example/tool'], 'acme/ci')).toBe(true);
    expect(allows(rules, ['did:plc:xyz/tool'], 'acme/ci')).toBe(false);
    expect(allows(rules, ['did:plc:abc/site'], 'acme/docs')).toBe(true);
    expect(allows(rules, ['did:plc:abc/site'], 'acme/secret')).toBe(false);
    expect(allows(rules, ['alice.example/.dot'], 'acme/.github')).toBe(true);
    expect(allows(rules, ['alice.example/a'], 'other/ci')).toBe(false);
    expect(allows([], ['alice.example/a'], 'acme/ci')).toBe(false);
  });

  test('a star does not reach over a slash, and an exclamation mark does not turn a rule round', () => {
    expect(allows(rulesOf('*/* -> acme/*'), ['a/b'], 'acme/x/y')).toBe(false);
    expect(allows(rulesOf('!a/b -> acme/*'), ['c/d'], 'acme/x')).toBe(false);
  });
});
