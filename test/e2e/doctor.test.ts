import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { msToTs } from '@temporalio/common/lib/time.js';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { NSID } from '../../src/forges/tangled/nsid.ts';
import { tidAt } from '../../src/forges/tangled/tid.ts';
import { bucketOf } from '../../src/providers/buildkite/rate.ts';
import { type Face, healthPart, publicFace, webhookPart } from '../../src/roles/faces.ts';
import type { Role } from '../../src/roles/role.ts';
import { temporalOn } from '../../src/temporal/where.ts';
import { startWorker } from '../../src/roles/worker.ts';
import { pinRepo, unpinRepo } from '../../src/store/repos.ts';
import { limiter } from '../../src/store/slots.ts';
import { wantedAttributes, attributeTypes } from '../../src/temporal/search-attributes.ts';
import { asAdmin, emptyDatabase } from '../support/database.ts';
import { doctor, environmentOf, examined, finding, wrong } from '../support/doctor.ts';
import { buildkiteFile, repo, type Spindle, spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

const hostname = 'spindle.example';
let own: Spindle;
let env: NodeJS.ProcessEnv;
let ingest: Role;
let url: string[];

beforeAll(async () => {
  own = await spindle({ network: true, shared: true, roles: ['worker', 'server'] });
  own.network.network.create(own.network.owner.did, 'sh.tangled.spindle', {}, hostname);
  ingest = await own.start('ingest');
  await Promise.all([own.knot.connected(1), own.network.jetstream.connected(1)]);
  env = environmentOf(own);
  url = ['--url', own.url];
  await until(
    'all is read',
    async () => wrong((await examined(env, [...url, '--only', 'ingest'])).report).length === 0,
  );
}, 60_000);
afterAll(() => own.close());

const look = (change: NodeJS.ProcessEnv = {}, args = url) => examined({ ...env, ...change }, args);

/** Everything that is said about a trouble, as a person reads it. */
async function named(change: NodeJS.ProcessEnv, trouble: string, words: RegExp, args = url): Promise<void> {
  const { report, code, err, out } = await look(change, args);
  expect(wrong(report), out).toEqual([trouble]);
  const { state, found, advice } = finding(report, trouble);
  expect(found).toMatch(words);
  expect(advice, 'it says what to do').toMatch(/\w{3}/);
  expect(code).toBe(state === 'fail' ? 1 : 0);
  expect(err).toBe(state === 'fail' ? `whorl: one check failed (${trouble})` : '');
}

test('a spindle that is well is called so', async () => {
  const pushed = own.push({ 'ci.yml': buildkiteFile() });
  await pushed.shows('ci.yml', 'pending');
  const before = own.ci.requests.length;
  const { report, code, err } = await look();
  expect({ code, err, wrong: wrong(report), ok: report.ok }).toEqual({ code: 0, err: '', wrong: [], ok: true });
  expect(report.checks.filter(({ state }) => state === 'skipped')).toEqual([]);
  expect(new Set(report.checks.map(({ group }) => group)).size).toBe(11);
  const asked = own.ci.requests.slice(before).map(({ route, path }) => route ?? path);
  expect(asked.filter((route) => route === 'access_token')).toHaveLength(1);
  await own.command('cancel', pushed.id);
  await pushed.shows('ci.yml', 'cancelled');
});

describe('one trouble at a time, and doctor names exactly that one', { timeout: 30_000 }, () => {
  const nobody = 'postgres://whorl:hidden-password@127.0.0.1:1/whorl';

  test('the database is away', () => named({ WHORL_DATABASE_URL: nobody }, 'database: reachable', /does not answer/));

  test('the database is not migrated', async () => {
    const empty = await emptyDatabase();
    try {
      await named({ WHORL_DATABASE_URL: empty.url }, 'database: schema', /no tables of Whorl yet: run "whorl migrate"/);
    } finally {
      await empty.drop();
    }
  });

  test('the user of the database may only read', async () => {
    const role = `reader_${randomUUID().slice(0, 8)}`;
    const reader = new URL(own.databaseUrl);
    Object.assign(reader, { username: role, password: 'a-password-of-readers' });
    await asAdmin((admin) => admin.unsafe(`create role ${role} login password 'a-password-of-readers'`));
    try {
      await own.sql.unsafe(`grant select on all tables in schema public to ${role}`);
      const change = { WHORL_DATABASE_URL: reader.href };
      await named(change, 'database: privileges', /lacks rights: .*accounts: insert, update, delete/);
    } finally {
      await own.sql.unsafe(`drop owned by ${role}`);
      await asAdmin((admin) => admin.unsafe(`drop role ${role}`));
    }
  });

  test('Temporal is away', () =>
    named({ TEMPORAL_ADDRESS: '127.0.0.1:1' }, 'temporal: reachable', /127\.0\.0\.1:1, .* does not answer/, [
      ...url,
      '--timeout',
      '3s',
    ]));

  test('there is no such namespace', () =>
    named({ TEMPORAL_NAMESPACE: 'nowhere' }, 'temporal: namespace', /is not there: .*namespace nowhere/));

  test('no worker polls the task queue', () =>
    named(
      { WHORL_TASK_QUEUE: 'nobodys' },
      'temporal: workers',
      /no worker polls the task queue nobodys and nobodys-logs/,
    ));

  test('a search attribute is missing, and then the retention is too short', { timeout: 60_000 }, async () => {
    const namespace = `doctor-${randomUUID().slice(0, 8)}`;
    const { workflowService, operatorService } = own.client.connection;
    const hours = (count: number) => msToTs(3_600_000 * count);
    const workflowExecutionRetentionPeriod = hours(72);
    await workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod });
    const at = temporalOn(inject('temporalAddress'), namespace);
    const { Branch: branch, ...others } = await wantedAttributes();
    const add = (names: Record<string, keyof typeof attributeTypes>) =>
      until('the search attributes are taken', async () => {
        const searchAttributes = Object.fromEntries(
          Object.entries(names).map(([name, type]) => [name, attributeTypes[type]]),
        );
        await operatorService.addSearchAttributes({ namespace, searchAttributes }).catch(() => {});
        const { customAttributes } = await operatorService
          .listSearchAttributes({ namespace })
          .catch(() => ({ customAttributes: {} }));
        return Object.keys(names).every((name) => name in customAttributes);
      });
    await add(others);
    const worker = await startWorker(
      { ...own.deps, temporal: at },
      { bundlePath: inject('workflowBundlePath'), graceMs: 1_000, housekeeping: false },
    );
    try {
      const there = { TEMPORAL_NAMESPACE: namespace };
      await until('the worker polls', async () => !wrong((await look(there)).report).includes('temporal: workers'));
      await named(there, 'temporal: search attributes', /missing: Branch \(Keyword\)/);
      await add({ Branch: branch ?? 'Keyword' });
      await until('all is well', async () => wrong((await look(there)).report).length === 0);
      await workflowService.updateNamespace({
        namespace,
        config: { workflowExecutionRetentionTtl: hours(1) },
      });
      await until('the retention is short', async () => wrong((await look(there)).report).length > 0);
      await named(there, 'temporal: retention', /for 60 min/);
    } finally {
      await worker.stop();
    }
  });

  test('a workflow is stuck in its code', { timeout: 120_000 }, async () => {
    const workflowId = `stuck-${randomUUID()}`;
    const stuck = await own.client.workflow.start('no-such-workflow', {
      taskQueue: own.config.taskQueue,
      workflowId,
      workflowTaskTimeout: 1_000,
    });
    try {
      const tasks = [...url, '--only', 'temporal'];
      await until(
        'Temporal reports it',
        async () => {
          // A server of production lists ten times a second.
          await delay(500);
          return wrong((await look({}, tasks)).report).includes('temporal: workflow tasks');
        },
        90_000,
      );
      await named({}, 'temporal: workflow tasks', new RegExp(`1 workflow\\(s\\) cannot go on, such as ${workflowId}`));
    } finally {
      await stuck.terminate();
      await until('it is gone', async () => wrong((await look()).report).length === 0);
    }
  });

  test('a knot is down', async () => {
    const gone = { knot: '127.0.0.1:1', ...repo };
    await pinRepo(own.sql, gone);
    try {
      await until('it is taken', async () => !wrong((await look()).report).includes('ingest: sources'));
      await named({}, 'knots: 127.0.0.1:1', /nothing listens at 127\.0\.0\.1:1/);
    } finally {
      await unpinRepo(own.sql, gone);
    }
  });

  test('the clock of a knot is wrong', async () => {
    own.knot.faults.clockSkew = -900_000;
    try {
      await named({}, `knots: ${own.knot.host} clock`, /15 min behind ours/);
    } finally {
      own.knot.faults.clockSkew = 0;
    }
  });

  test('the token was revoked', async () => {
    const { token } = own.ci.addToken();
    own.ci.revokeToken(token);
    await named({ WHORL_BUILDKITE_TOKEN: token }, 'ci: token', /refuses the token/);
  });

  test('a scope is missing', async () => {
    const { token } = own.ci.addToken({ scopes: ['read_builds', 'read_build_logs'] });
    await named({ WHORL_BUILDKITE_TOKEN: token }, 'ci: scopes', /lacks write_builds$/);
  });

  test('the token ends soon', async () => {
    const { token } = own.ci.addToken({ expiresAt: Date.now() + 86_400_000 });
    await named({ WHORL_BUILDKITE_TOKEN: token }, 'ci: token', /expires on 20\d\d-/);
  });

  test('the organisation is not that of the token', () =>
    named(
      { WHORL_BUILDKITE_ORG: 'others', WHORL_BUILDKITE_ALLOW: '*/* -> others/*' },
      'ci: organisation',
      /no organisation others/,
    ));

  test('the rate limit is used up', async () => {
    own.ci.setLimits({ organization: 200, user: 0, window: 60_000 });
    try {
      await named({}, 'ci: rate limit', /0 of 0 requests are left/);
    } finally {
      own.ci.setLimits('off');
    }
  });

  test('the CI has told us to wait: it is not asked', async () => {
    const { token } = own.ci.addToken();
    const budget = limiter(own.sql, { limit: 10, windowMs: 60_000 });
    await budget.block(bucketOf(token), new Date(performance.timeOrigin + performance.now() + 240_000));
    const before = own.ci.requests.length;
    await named({ WHORL_BUILDKITE_TOKEN: token }, 'ci: rate limit', /takes nothing for another 4 min/);
    expect(own.ci.requests.length).toBe(before);
  });

  describe('the public face', () => {
    const withFace = async (
      change: object,
      webhooks: boolean,
      work: (args: string[]) => Promise<void>,
    ): Promise<void> => {
      const deps = { ...own.deps, config: { ...own.config, ...change } };
      const face: Face = await publicFace(deps, own.config.listen, [
        healthPart(deps),
        ...(webhooks ? [webhookPart(deps)] : []),
      ]);
      try {
        await work(['--url', face.url]);
      } finally {
        await face.close();
      }
    };
    const another = 'did:plc:ewvi7nxzyoun6zhxrhs64oiz';

    test('names another owner', () =>
      withFace({ owner: another }, true, (args) =>
        named({}, 'public: owner', new RegExp(`tells the world that ${another} runs it`), args),
      ));

    test('has another name in its did.json', () =>
      withFace({ hostname: 'other.example' }, true, (args) =>
        named({}, 'public: did.json', /names did:web:other\.example, and not did:web:spindle\.example/, args),
      ));

    test('does not lead webhooks to us', () =>
      withFace({}, false, (args) => named({}, 'webhooks: reachable', /answers 404/, args)));

    test('is away', async () => {
      const { report } = await look({}, ['--url', 'http://127.0.0.1:1']);
      expect(wrong(report)).toEqual(['public: address']);
    });
  });

  test('the webhook secret is another', () =>
    named(
      { WHORL_BUILDKITE_WEBHOOK_SECRET: 'quite-another-secret' },
      'webhooks: secret',
      /has another secret or mode/,
    ));

  test('webhooks go missing', async () => {
    const pipeline = 'pipeline/knot.example/misses';
    await own.sql`
      insert into pipelines (id, knot, rkey, did, repo, kind, commit, branch, title)
      values (${pipeline}, 'knot.example', 'misses', 'did:web:x.example', 'x', 'push', 'c0ffee', 'main', 'a push')`;
    await own.sql`insert into jobs (pipeline, name, position, status) values (${pipeline}, 'ci.yml', 0, 'success')`;
    const end = async (from: number, to: number, learnt: string) => {
      await own.sql`
        insert into attempts (pipeline, job, attempt, run_key, build, learnt, ended_at)
        select ${pipeline}, 'ci.yml', n, 'run-' || n, 'build-' || n, ${learnt}, clock_timestamp()
        from generate_series(${from}::int, ${to}::int) n`;
      await own.sql`
        insert into builds (pipeline, job, attempt, provider, nonce, outcome, build, data)
        select ${pipeline}, 'ci.yml', n, 'buildkite', 'nonce-' || n, 'accepted', 'build-' || n, '{"org":"acme"}'
        from generate_series(${from}::int, ${to}::int) n`;
    };
    try {
      await end(1, 19, 'read');
      expect(wrong((await look()).report), 'too few to judge').toEqual([]);
      await end(20, 400, 'webhook');
      expect(wrong((await look()).report), '19 of 400 are below 5 %').toEqual([]);
      await end(401, 405, 'read');
      await named({}, 'webhooks: misses', /of 405 ends within a day, no webhook told of 24 \(5\.9 %\), for acme/);
    } finally {
      for (const table of ['builds', 'attempts', 'jobs'])
        await own.sql`delete from ${own.sql(table)} where pipeline = ${pipeline}`;
      await own.sql`delete from pipelines where id = ${pipeline}`;
    }
  });

  test('the jetstream is down', async () => {
    own.network.jetstream.faults.refuse = 503;
    try {
      await named({}, 'network: jetstream', /503/);
    } finally {
      own.network.jetstream.faults.refuse = undefined;
    }
  });

  test('the owner’s DID is not in the directory', async () => {
    own.network.plc.fault({ route: 'did' }, { name: 'away', run: ({ response }) => void response.destroy() }, 1);
    await named({}, 'network: owner', /could not be reached/);
  });

  test('the owner has not registered this spindle', async () => {
    own.network.network.delete(own.network.owner.did, 'sh.tangled.spindle', hostname);
    try {
      await named({}, 'network: registration', /has not added spindle\.example/);
    } finally {
      own.network.network.create(own.network.owner.did, 'sh.tangled.spindle', {}, hostname);
    }
  });

  test('a job waits for its operator', async () => {
    const pushed = own.push({ 'ci.yml': buildkiteFile('nowhere') });
    await until('it is parked', async () => wrong((await look()).report).length > 0);
    await named({}, 'work: parked', /1 by TargetMissing \(such as pipeline\/.*\)/);
    await own.command('cancel', pushed.id);
    await until('it has ended', async () => wrong((await look()).report).length === 0);
  });

  test('something waits in the inbox', async () => {
    await own.sql`
      insert into deliveries (provider, key, share, event, build, received_at, due_at)
      values ('buildkite', 'stuck', 0, 'build.finished', 'x', now() - interval '5 minutes', 'infinity')`;
    try {
      await named({}, 'work: inbox', /1 deliveries; the oldest for 5 min/);
    } finally {
      await own.sql`delete from deliveries where key = 'stuck'`;
    }
  });

  test('the quarantine is not empty', async () => {
    await own.sql`
      insert into quarantine (source, bytes, reason)
      values ('knot/bad.example', '\\x00', ${'a \u001b[2Jreason\nof two lines'})`;
    try {
      await named(
        {},
        'work: quarantine',
        /1 that PostgreSQL refused to store, 1 of them within a week; the latest from knot\/bad\.example/,
      );
      const { out } = await doctor(env, url);
      expect(out).not.toContain('\u001b');
      expect(out).not.toContain('\nof two');
    } finally {
      await own.sql`delete from quarantine`;
    }
  });

  test('housekeeping has left something behind', async () => {
    await own.sql`
      insert into deliveries (provider, key, share, event, build, ref, seen, state, received_at, settled_at)
      values ('buildkite', 'old', 0, 'build.finished', 'x', '{}', '{}', 'done', now() - interval '40 days', now() - interval '40 days')`;
    try {
      await named({}, 'storage: retention', /contents of webhooks should have left 10 days ago/);
    } finally {
      await own.sql`delete from deliveries where key = 'old'`;
    }
  });

  test('the configuration is wrong: nothing else can be said', () =>
    named({ WHORL_TASK_QUEUE: 'two words' }, 'config: settings', /WHORL_TASK_QUEUE must/));

  test('a warning of the configuration is shown', () =>
    named({ WHORL_BUILDKITE_ALLOW: '' }, 'config: settings', /WHORL_BUILDKITE_ALLOW is not set/));

  const anHourAgo = () => BigInt(Date.now() - 3_600_000) * 1_000_000n;

  test('the jetstream is read late', async () => {
    own.network.jetstream.halfOpen();
    const late = (Date.now() - 300_000) * 1_000;
    own.network.jetstream.store(() =>
      JSON.stringify({ did: own.network.owner.did, time_us: late, kind: 'identity', identity: {} }),
    );
    await own.sql`update cursors set position = ${anHourAgo()} where source = 'jetstream'`;
    await named({}, 'network: jetstream read', /last 5 min is not read yet/);
  });

  test('nobody reads anything', async () => {
    await ingest.stop();
    await named({}, 'ingest: processes', /no ingest process is alive/);
  });

  test('a knot is read late', async () => {
    ingest = await own.start('ingest');
    own.network.jetstream.dropAll();
    const dials = own.knot.connections.length;
    await own.knot.connected(dials + 1);
    await until('all is read', async () => wrong((await look()).report).length === 0);
    own.knot.halfOpen();
    await own.sql`update cursors set position = ${anHourAgo()} where source like 'knot/%'`;
    own.knot.emit(NSID.refUpdate, {}, tidAt(Date.now() - 300_000));
    await named({}, `knots: ${own.knot.host} events`, /events of the last 5 min are not read yet/);
  });
});

test('no secret is in what it says, also when everything is wrong', async () => {
  const change = {
    WHORL_DATABASE_URL: 'postgres://whorl:hidden-password@127.0.0.1:1/whorl',
    WHORL_BUILDKITE_TOKEN: 'bkua_a-token-that-nobody-sees',
    WHORL_BUILDKITE_WEBHOOK_SECRET: 'a-secret-that-nobody-sees',
    TEMPORAL_ADDRESS: '127.0.0.1:1',
    TEMPORAL_API_KEY: 'a-key-that-nobody-sees',
  };
  const { out, err } = await doctor({ ...env, ...change }, [...url, '--timeout', '3s']);
  expect(out).toContain('✗');
  expect(out + err).not.toMatch(/nobody-sees|hidden-password/);
});

test('--only looks at some, and --timeout ends what hangs', async () => {
  const { report } = await examined(env, [...url, '--only', 'database', 'work']);
  expect(new Set(report.checks.map(({ group }) => group))).toEqual(new Set(['database', 'work']));
  const held = own.ci.hold({ route: 'access_token' }, 'arrival');
  const hanging = await examined(env, [...url, '--only', 'ci', '--timeout', '500ms']);
  held.release();
  expect(wrong(hanging.report)).toEqual(['ci: token']);
  const typo = await doctor(env, ['--only', 'databse']);
  expect(typo.code).toBe(2);
});
