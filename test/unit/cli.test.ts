import { randomUUID } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { json, plain, table } from '../../src/cli/text.ts';
import { postgresDir, startPostgres } from '../../src/embedded/postgres.ts';
import { type PipelineId, pipelineId } from '../../src/pipeline/ids.ts';
import { newJob } from '../../src/pipeline/job.ts';
import { shareOfPipeline } from '../../src/pipeline/share.ts';
import { insertCommand } from '../../src/store/commands.ts';
import { listen } from '../../src/store/listen.ts';
import { insertPipeline } from '../../src/store/pipelines.ts';
import { publishStatuses, resendStatuses, type StatusEntry } from '../../src/store/statuses.ts';
import { openCommands, type OpenCommand, settleCommand } from '../../src/store/work.ts';
import { parkedText } from '../../src/workflows/run.ts';
import { commandLine } from '../support/cli.ts';
import { freshDatabase } from '../support/database.ts';

type TestDatabase = Awaited<ReturnType<typeof freshDatabase>>;
let db: TestDatabase;
beforeAll(async () => void (db = await freshDatabase()));
afterAll(() => db.drop());

const whorl = commandLine(() => db.url);

const did = 'did:plc:ewvi7nxzyoun6zhxrhs64oiz';

/** A planned pipeline under a name of its own. */
async function planned(names: string[] = ['ci.yml'], knot = 'knot.example'): Promise<PipelineId> {
  const rkey = randomUUID().slice(0, 13);
  const id = pipelineId(knot, rkey);
  await insertPipeline(db.sql, {
    id,
    knot,
    rkey,
    repo: { did, name: 'site' },
    kind: 'push',
    commit: 'c0ffee',
    branch: 'main',
    title: 'push to main (c0ffee)',
    jobs: names.map((name) => ({ name, provider: 'fake', spec: null, refusal: null })),
  });
  await trigger(id, 'started');
  return id;
}

async function trigger(id: PipelineId, state: string, reason: string | null = null): Promise<void> {
  const [, knot = '', rkey = ''] = id.split('/');
  await db.sql`
    insert into triggers (knot, nsid, rkey, share, state, reason, hold_until) values
      (${knot}, 'sh.tangled.pipeline', ${rkey}, ${shareOfPipeline(knot, rkey)}, ${state}, ${reason},
       ${state === 'held' ? new Date('2030-01-02T03:04:05Z') : null})`;
}

const publish = (id: PipelineId, entry: Partial<StatusEntry>, note: string | null = null) =>
  publishStatuses(db.sql, id, [
    {
      job: 'ci.yml',
      attempt: 1,
      epoch: 0,
      status: 'pending',
      state: { job: newJob(), attempts: 1, note },
      ...entry,
    },
  ]);

describe('text from outside', () => {
  test('carries no control character to a terminal', () => {
    for (const [text, safe] of [
      ['ünïcödé 字 🧵', 'ünïcödé 字 🧵'],
      ['\u001b[31mred\u001b[0m', '\ufffd[31mred\ufffd[0m'],
      ['\u009b2Jgone', '\ufffd2Jgone'],
      ['\u001b]0;title\u0007', '\ufffd]0;title\ufffd'],
      ['nul\0del\u007fback\b', 'nul\ufffddel\ufffdback\ufffd'],
      ['two\r\nlines\tand\u2028more', 'two lines and more'],
      ['\u202egnp.exe\u2066', '\ufffdgnp.exe\ufffd'],
      ['half \ud83e', 'half \ufffd'],
    ]) {
      expect(plain(text ?? '')).toBe(safe);
    }
  });

  test('is made safe in every cell of a table', () => {
    expect(
      table([
        ['A', 'B'],
        ['\u001b[2J', 'x\ny'],
        ['long cell', ''],
      ]),
    ).toEqual(['A          B', '\ufffd[2J       x y', 'long cell']);
  });

  test('stays the same data in JSON, without what a terminal acts upon', () => {
    const data = { a: '\u001b[2J\u009b1m\u202e\n', b: ['\u007f'] };
    expect(JSON.parse(json(data))).toEqual(data);
    expect(json(data)).not.toMatch(/[^\P{Cc}\n]|\u202e/u);
  });
});

describe('what was typed wrongly', () => {
  const pin = 'repos pin knot.example';
  test.each([
    ['shwo x', 'unknown command'],
    ['show', "missing required argument 'pipeline'"],
    ['show a/b/c/d', 'must be pipeline/<knot>/<rkey>'],
    ['cancel x --now', "unknown option '--now'"],
    ['cancel x --wait 5', '"5" is not a duration'],
    [['cancel', 'x', '--id', 'a b'], '--id must be one word'],
    [['cancel', 'x', '--by', ' '], '--by must be a name'],
    ['migrate --wait soon', '"soon" is not a duration'],
    [`repos pin https://knot.example ${did}/site`, 'is not the name of a knot: it must be host or host:port'],
    [`repos pin knot.example:99999 ${did}/site`, 'is not the name of a knot'],
    [`repos unpin knot/x ${did}/site`, 'is not the name of a knot'],
    [`${pin} ${did}`, 'must be <did>/<name>'],
    [`${pin} ${did}/a/b`, 'must be <did>/<name>'],
    [`${pin} alice.example/site`, 'not a handle'],
    [`${pin} did:plc:short/site`, 'did:plc and 24 characters'],
    [`${pin} did:key:z6Mk/site`, 'did:plc and 24 characters'],
    [`${pin} ${did}/`, 'is not the name of a repository'],
    [[...pin.split(' '), `${did}/a\u001bb`], 'is not the name of a repository'],
    [`${pin} ${did}/site --since yesterday`, 'is not a time'],
    [`${pin} ${did}/site --since 2026-05-01T12:00`, 'a time with its zone'],
    [`${pin} ${did}/site --since 2026-13-01`, 'is not a time'],
    [`${pin} ${did}/site --since 2999-01-01`, 'in the future'],
  ])('%s: one sentence on standard error, and exit code 2', async (line, sentence) => {
    const { code, out, err } = await whorl(line);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toMatch(/^whorl: [^\n]+$/);
    expect(err).toContain(sentence);
    expect(err).not.toContain('\u001b');
  });

  test('no command at all shows the help', async () => {
    const { code, err } = await whorl([]);
    expect([code, err]).toEqual([2, expect.stringContaining('Usage: whorl')]);
  });
});

test.each(['migrate', 'repos', 'repos pin', 'repos list', 'repos unpin', 'show', 'cancel', 'rerun', 'retry'])(
  'the help of whorl %s has examples',
  async (name) => {
    const { code, out, err } = await whorl(`${name} --help`);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(new RegExp(`\nExamples?:\n  whorl ${name}`));
  },
);

describe('the database', () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'whorl-cli-'));
    // PostgreSQL may run as another user.
    await chmod(dir, 0o755);
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  test('is the one that a whorl up runs under its data directory, when none is configured', async () => {
    const env = { WHORL_DATA_DIR: dir };
    const none = await whorl('repos list', env);
    expect(none).toMatchObject({ code: 1, out: '' });
    expect(none.err).toMatch(
      /^whorl: there is no database: WHORL_DATABASE_URL is not set, and no `whorl up` runs [^\n]+$/,
    );
    expect(none.err).toContain(dir);

    const gone = Promise.withResolvers<string>();
    const postgres = await startPostgres({ dir: postgresDir(dir), onExit: gone.resolve });
    try {
      expect((await whorl('repos list', env)).err).toContain('run "whorl migrate"');
      expect(await whorl('migrate', env)).toMatchObject({ code: 0, err: '' });
      expect(await whorl('repos list', env)).toMatchObject({ code: 0, out: expect.stringContaining('No repository') });
      process.kill(postgres.pid, 'SIGKILL');
      await gone.promise;
      // Its files still say that it is ready.
      expect((await whorl('repos list', env)).err).toContain('there is no database');
    } finally {
      await postgres.stop();
    }
  });

  test('that does not answer is named, without its password, and with what to do', async () => {
    const env = { WHORL_DATABASE_URL: 'postgres://whorl:hunter2@127.0.0.1:1/whorl' };
    const { code, err } = await whorl('repos list', env);
    expect(code).toBe(1);
    expect(err).toMatch(/^whorl: the database postgres:\/\/whorl:••••@127.0.0.1:1\/whorl does not answer \([^\n]+$/);
    expect(err).not.toContain('hunter2');
    const debugging = await whorl('repos list', { ...env, WHORL_LOG_LEVEL: 'debug' });
    expect(debugging.err).toMatch(/\n +at .*database\.ts/);
    expect(debugging.err).not.toContain('hunter2');
  });

  test('that refuses us, or is not there, is told apart', async () => {
    const wrong = new URL(db.url);
    wrong.password = 'wrong';
    expect((await whorl('repos list', { WHORL_DATABASE_URL: wrong.href })).err).toContain('refuses the login');
    const nowhere = new URL(db.url);
    nowhere.pathname = '/nowhere';
    expect((await whorl('repos list', { WHORL_DATABASE_URL: nowhere.href })).err).toContain(
      'there is no such database',
    );
  });

  test('configured wrongly is one of the problems of the configuration', async () => {
    const { code, err } = await whorl('repos list', { WHORL_DATABASE_URL: 'mysql://x', WHORL_DEV: 'perhaps' });
    expect(code).toBe(1);
    expect(err).toMatch(/^whorl: The configuration has 2 problems:\n +WHORL_DATABASE_URL .*\n.*\n +WHORL_DEV /);
  });
});

describe('whorl repos', () => {
  test('pins, lists and unpins', async () => {
    expect((await whorl('repos list')).out).toContain('No repository is served yet');
    const pinned = await whorl(`repos pin Knot.Example:5555 ${did}/site --since 2026-05-01T12:00:00+02:00`);
    expect(pinned).toEqual({
      code: 0,
      out: `Pinned ${did}/site on knot.example:5555; what happened since 2026-05-01 10:00:00Z counts.`,
      err: '',
    });
    await whorl('repos pin knot.example did:web:alice.example/tool');
    const { out } = await whorl('repos list');
    expect(out.split('\n')[0]).toMatch(/^KNOT +REPOSITORY +SOURCE +SINCE$/);
    expect(out).toMatch(/^knot\.example:5555 +did:plc:ewvi7nxzyoun6zhxrhs64oiz\/site +pin +2026-05-01 10:00:00Z$/m);
    expect(JSON.parse((await whorl('repos list --json')).out)).toMatchObject([
      { knot: 'knot.example', did: 'did:web:alice.example', name: 'tool', source: 'pin' },
      { knot: 'knot.example:5555', did, name: 'site', chosenAt: '2026-05-01T10:00:00.000Z' },
    ]);
    expect(await whorl(`repos unpin knot.example:5555 ${did}/site`)).toMatchObject({ code: 0, err: '' });
    const again = await whorl(`repos unpin knot.example:5555 ${did}/site`);
    expect(again).toMatchObject({ code: 1, out: '', err: expect.stringMatching(/^whorl: there is no pin of /) });
  });
});

describe('whorl show', () => {
  test('shows jobs, what was published, and what waits, by any name of the pipeline', async () => {
    const id = await planned(['ci.yml', 'lint.yml', 'odd\u001b[2J.yml']);
    await publish(id, {});
    await publish(
      id,
      { status: 'failed', error: 'exited\nwith \u001b[31m2', exitCode: 2 },
      'The cancel came too late.',
    );
    const message = 'The token was refused.';
    const parked = parkedText({ step: 'create', cause: 'CredentialsRejected', message, since: 0 });
    await publish(id, { job: 'lint.yml', error: parked });
    await resendStatuses(db.sql, id);
    await db.sql`update attempts set build = 'b1' where pipeline = ${id} and job = 'ci.yml'`;
    await db.sql`
      insert into builds (pipeline, job, attempt, provider, nonce, outcome, build, url)
      values (${id}, 'ci.yml', 1, 'fake', ${id}, 'accepted', 'b1', 'https://ci.example/1')`;
    await insertCommand(db.sql, {
      id: `c-${id}`,
      pipeline: id,
      kind: 'rerun',
      job: 'ci.yml',
      by: 'eve\u001b]0;x\u0007',
    });

    const [, knot, rkey = ''] = id.split('/');
    const shown = await whorl(`show ${id}`);
    expect(shown).toMatchObject({ code: 0, err: '' });
    for (const name of [rkey, `${knot}/${rkey}`]) expect(await whorl(`show ${name}`)).toEqual(shown);
    const { out } = shown;
    expect(out).not.toMatch(/[^\P{Cc}\n]/u);
    expect(out).toContain(`${did}/site on knot.example, commit c0ffee, branch main, since `);
    expect(out).toMatch(
      /^ci\.yml +1 +failed +https:\/\/ci\.example\/1 +exited with \ufffd\[31m2; The cancel came too late\.; exit code 2$/m,
    );
    expect(out).toMatch(/^lint\.yml +1 +pending +- +Waiting for the operator \(create\): The token was refused\.$/m);
    expect(out).toContain(`goes on after \`whorl retry ${id}\``);
    expect(out).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ +ci\.yml +1 +pending$/m);
    expect(out).toMatch(/ ci\.yml +1 +failed +withheld until then; exited/);
    expect(out).toMatch(/ lint\.yml +1 +pending +sent once more; Waiting for/);
    expect(out).toMatch(/ rerun +ci\.yml +eve\ufffd\]0;x\ufffd +c-pipeline/);

    const data = JSON.parse((await whorl(`show ${id} --json`)).out);
    expect(data).toMatchObject({
      pipeline: id,
      commit: 'c0ffee',
      trigger: { state: 'started' },
      jobs: [
        { name: 'ci.yml', status: 'failed', exitCode: 2, url: 'https://ci.example/1', parked: false },
        { name: 'lint.yml', status: 'pending', error: parked, parked: true },
        { name: 'odd\u001b[2J.yml', status: null },
      ],
      commands: [{ kind: 'rerun', job: 'ci.yml' }],
    });
    expect(data.statuses).toMatchObject([
      { job: 'ci.yml', status: 'pending', state: 'sent', resend: false },
      { job: 'ci.yml', status: 'failed', state: 'due' },
      { job: 'lint.yml', status: 'pending', state: 'sent', resend: false },
      { job: 'lint.yml', status: 'pending', state: 'sent', resend: true },
    ]);
  });

  test.each([
    ['refused', 'The repository is not known.', 'was refused: The repository is not known.'],
    ['held', 'Held for a while.', 'is held until 2030-01-02 03:04:05Z: Held for a while.'],
    ['early', 'before choice', 'was not started, being too early: before choice'],
    ['ended', 'No workflow file matched.', 'ended at once: No workflow file matched.'],
    ['new', null, 'waits to be started'],
  ])('says of a trigger that was %s why there is no pipeline', async (state, reason, sentence) => {
    const id = pipelineId('knot.example', `t${state}`);
    await trigger(id, state, reason);
    const { code, out } = await whorl(`show t${state}`);
    expect(code).toBe(0);
    expect(out).toMatch(/^pipeline\/knot\.example\/t\w+\nThe trigger of \d{4}-[^\n]+$/);
    expect(out.endsWith(sentence)).toBe(true);
    expect(JSON.parse((await whorl(`show ${id} --json`)).out)).toMatchObject({ trigger: { state, reason }, jobs: [] });
  });

  test('asks which knot is meant when two have the same key, and says when none has it', async () => {
    for (const knot of ['a.example', 'b.example']) await trigger(pipelineId(knot, 'twice'), 'refused');
    const twice = await whorl('show twice');
    expect(twice).toMatchObject({ code: 2, err: expect.stringContaining('of a.example/twice, b.example/twice') });
    for (const name of ['nothing', 'a.example/nothing', 'pipeline/a.example/nothing']) {
      const { code, err } = await whorl(`show ${name}`);
      expect([code, err]).toEqual([1, expect.stringContaining(`nothing is known of a pipeline ${name}`)]);
    }
  });
});

describe('whorl cancel, rerun and retry', () => {
  /** Settles the commands of one pipeline as dispatch would. */
  function dispatcher(id: PipelineId, settle: (row: OpenCommand) => Promise<void>) {
    const [, knot = '', rkey = ''] = id.split('/');
    const look = async (): Promise<void> => {
      for (const row of await openCommands(db.sql, shareOfPipeline(knot, rkey), 100)) {
        if (row.pipeline === id) await settle(row);
      }
    };
    return listen(db.sql, ['inbox'], () => void look());
  }

  test.each(['cancel', 'rerun', 'retry'] as const)('%s prints the result when it is done', async (kind) => {
    const id = await planned();
    const carried: OpenCommand[] = [];
    const dispatch = dispatcher(id, async (row) => {
      carried.push(row);
      await settleCommand(db.sql, row.id, 'done', 'It is\u001b[2J so.');
    });
    try {
      const args = [kind, id, 'ci.yml', '--by', 'alice', '--id', `mine-${id}`];
      expect(await whorl(args)).toEqual({ code: 0, out: 'It is\ufffd[2J so.', err: '' });
      expect(await whorl(args)).toMatchObject({ code: 0, out: 'It is\ufffd[2J so.' });
      expect(carried).toMatchObject([{ id: `mine-${id}`, pipeline: id, kind, job: 'ci.yml', by: 'alice' }]);
    } finally {
      await dispatch.close();
    }
  });

  test('ends with exit code 1 and the reason when it was refused', async () => {
    const id = await planned();
    const dispatch = dispatcher(id, (row) => settleCommand(db.sql, row.id, 'refused', 'There is nothing to cancel.'));
    try {
      const refused = await whorl(`cancel ${id}`);
      expect(refused).toEqual({ code: 1, out: '', err: 'whorl: the cancel was refused: There is nothing to cancel.' });
    } finally {
      await dispatch.close();
    }
  });

  test('ends with exit code 3 when it still waits, and says what keeps it and how to look', async () => {
    const id = await planned();
    const none = await whorl(`retry ${id} --wait 0s --id wait-${id}`);
    expect(none).toMatchObject({ code: 3, out: '' });
    expect(none.err).toBe(
      `whorl: the retry still waits to be carried out; \`whorl show ${id}\` shows whether it waits, ` +
        `and \`whorl retry ${id} --id wait-${id}\` waits for its result`,
    );
    await db.sql`update commands set result = 'Temporal does not answer.' where id = ${`wait-${id}`}`;
    const again = await whorl(`retry ${id} --wait 1ms --id wait-${id}`);
    expect(again).toMatchObject({
      code: 3,
      err: expect.stringContaining('carried out: Temporal does not answer; `whorl'),
    });
    expect((await whorl(`show ${id}`)).out).toContain('Temporal does not answer.');
  });

  test('with --no-wait writes the command down and leaves', async () => {
    const id = await planned();
    const { code, out } = await whorl(`rerun ${id} --no-wait`);
    expect(code).toBe(0);
    const [row] = await db.sql<{ id: string; job: string | null; by: string }[]>`
      select id, job, by from commands where pipeline = ${id}`;
    expect(out).toContain(`Written down as ${row?.id}: `);
    expect(row).toMatchObject({ job: null, by: expect.stringMatching(/./) });
  });

  test('refuses a job that is not there, a pipeline that is not there, and an id that means something else', async () => {
    const id = await planned(['ci.yml', 'lint.yml']);
    const failures = [
      [`cancel ${id} nope.yml`, `${id} has no job nope.yml; it has ci.yml, lint.yml`],
      ['cancel knot.example/nope', 'nothing is known of a pipeline knot.example/nope'],
    ];
    for (const [line = '', sentence] of failures) {
      expect(await whorl(line)).toMatchObject({ code: 1, out: '', err: expect.stringContaining(sentence ?? '') });
    }
    expect(await db.sql`select from commands where pipeline = ${id}`).toHaveLength(0);
    await whorl(`cancel ${id} --no-wait --id taken-${id}`);
    for (const line of [`rerun ${id}`, `cancel ${id} ci.yml`, `cancel ${await planned()}`]) {
      const { code, err } = await whorl(`${line} --no-wait --id taken-${id}`);
      expect([code, err]).toEqual([1, expect.stringContaining('is taken by another command')]);
    }
  });

  test('of a trigger that waits to be started is left to dispatch', async () => {
    const id = pipelineId('knot.example', 'soon');
    await trigger(id, 'new');
    expect(await whorl(`cancel ${id} ci.yml --wait 0s`)).toMatchObject({ code: 3 });
  });
});
