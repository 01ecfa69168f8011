import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { listPipelines } from '../../src/store/pipeline-list.ts';
import { commandLine, plannedPipeline, told } from '../support/cli.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';

const hour = 3_600_000;

let db: FreshDatabase;
beforeAll(async () => void (db = await freshDatabase()));
afterAll(() => db.drop());
const whorl = commandLine(() => db.url);

interface Page {
  pipelines: { pipeline: string; state: string; jobs: { name: string; status: string | null }[] }[];
  next: string | null;
}
const listed = async (line: string): Promise<Page> => {
  const { code, out, err } = await whorl(`pipelines ${line} --json`);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  return JSON.parse(out) as Page;
};
const ids = async (line: string): Promise<string[]> => (await listed(line)).pipelines.map(({ pipeline }) => pipeline);

describe('the state of a pipeline', () => {
  const did = 'did:plc:states';
  const cases = [
    [['a', 'b'], [], 'pending'],
    [['a', 'b'], [{ job: 'a', status: 'running' }], 'running'],
    [['a', 'b'], [{ job: 'a', status: 'success' }], 'running'],
    [
      ['a', 'b'],
      [
        { job: 'a', status: 'running' },
        { job: 'b', parked: 'CredentialsRejected' },
      ],
      'parked',
    ],
    [
      ['a', 'b'],
      [
        { job: 'a', status: 'success' },
        { job: 'b', status: 'success' },
      ],
      'success',
    ],
    [
      ['a', 'b'],
      [
        { job: 'a', status: 'success' },
        { job: 'b', status: 'cancelled' },
      ],
      'cancelled',
    ],
    [
      ['a', 'b'],
      [
        { job: 'a', status: 'timeout' },
        { job: 'b', status: 'cancelled' },
      ],
      'timeout',
    ],
    [
      ['a', 'b'],
      [
        { job: 'a', status: 'timeout' },
        { job: 'b', status: 'failed' },
      ],
      'failed',
    ],
  ] as const;

  test.each(cases)('of %j with %j is %3$s, and only a filter that fits finds it', async (jobs, entries, state) => {
    const repo = `r${cases.findIndex(([, each]) => each === entries)}`;
    const id = await plannedPipeline(db.sql, { jobs: [...jobs], did, repo });
    for (const entry of entries) await told(db.sql, id, entry);
    const [found] = (await listed(`--repo ${did}/${repo}`)).pipelines;
    expect(found).toMatchObject({ pipeline: id, state });
    const open = ['pending', 'running', 'parked'].includes(state);
    for (const asked of ['open', 'parked', 'pending', 'running', 'success', 'failed', 'timeout', 'cancelled']) {
      const fits = asked === state || (asked === 'open' && open);
      expect([asked, await ids(`--repo ${did}/${repo} --state ${asked}`)]).toEqual([asked, fits ? [id] : []]);
    }
    expect(await ids(`--repo ${did}/${repo} --parked`)).toEqual(state === 'parked' ? [id] : []);
  });

  test('is parked for a cause', async () => {
    const id = await plannedPipeline(db.sql, { did, repo: 'cause' });
    await told(db.sql, id, { parked: 'TargetMissing', error: 'Waiting for the operator: no such pipeline' });
    expect(await ids(`--repo ${did}/cause --parked TargetMissing`)).toEqual([id]);
    expect(await ids(`--repo ${did}/cause --parked Forbidden`)).toEqual([]);
  });
});

describe('filters', () => {
  const did = 'did:plc:filters';

  test('choose by repository, its owner, its name, and branch', async () => {
    const one = await plannedPipeline(db.sql, { did, repo: 'one', branch: 'main' });
    const two = await plannedPipeline(db.sql, { did, repo: 'two', branch: 'feature/x' });
    expect(await ids(`--repo ${did}`)).toEqual([two, one]);
    expect(await ids(`--repo ${did}/one`)).toEqual([one]);
    expect(await ids('--repo two')).toEqual([two]);
    expect(await ids(`--repo ${did} --branch feature/x`)).toEqual([two]);
    expect(await ids(`--repo ${did} --branch feature`)).toEqual([]);
  });

  test('choose by age, in units or as a time', async () => {
    const old = await plannedPipeline(db.sql, { did, repo: 'age', ago: 30 * hour });
    const young = await plannedPipeline(db.sql, { did, repo: 'age', ago: 2 * hour });
    const repo = `--repo ${did}/age`;
    expect(await ids(`${repo} --since 1d`)).toEqual([young]);
    expect(await ids(`${repo} --since 1w`)).toEqual([young, old]);
    expect(await ids(`${repo} --older-than 1d2h`)).toEqual([old]);
    expect(await ids(`${repo} --older-than 1h --since 3h`)).toEqual([young]);
    expect(await ids(`${repo} --since 2020-01-01`)).toEqual([young, old]);
    expect(await ids(`${repo} --older-than 2020-01-01T00:00:00Z`)).toEqual([]);
  });

  test.each([
    ['--state done', 'Allowed choices are open, parked'],
    ['--since yesterday', 'is not a time'],
    ['--limit 0', 'a whole number from 1 to 1000'],
    ['--after nonsense', '--after takes the word that the last page ended with'],
    ['--repo a/b/c', 'It must be <did>/<name>'],
    ['--parked --state failed', 'exclude each other'],
  ])('%s is one sentence, and exit code 2', async (line, sentence) => {
    const { code, out, err } = await whorl(`pipelines ${line}`);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toMatch(/^whorl: [^\n]+$/);
    expect(err).toContain(sentence);
  });
});

describe('pages', () => {
  const did = 'did:plc:pages';
  const all: string[] = [];
  beforeAll(async () => {
    for (let n = 0; n < 7; n++) all.unshift(await plannedPipeline(db.sql, { did, repo: 'site', ago: (10 - n) * hour }));
    // Two of the same moment.
    await db.sql`update pipelines set created_at = (select created_at from pipelines where id = ${all[2] ?? ''})
      where id = ${all[3] ?? ''}`;
    all.splice(2, 2, ...[all[2] ?? '', all[3] ?? ''].toSorted().toReversed());
  });

  test('go on after each other without gap or double, also when something new comes in between', async () => {
    const seen: string[] = [];
    let after = '';
    for (;;) {
      const page = await listed(`--repo ${did} --limit 2 ${after}`.trim());
      seen.push(...page.pipelines.map(({ pipeline }) => pipeline));
      if (page.next === null) break;
      after = `--after ${page.next}`;
      await plannedPipeline(db.sql, { did, repo: 'new' });
    }
    expect(seen).toEqual(all);
  });

  test('end with the command that shows the next one, which works as it is printed', async () => {
    const first = await whorl(`pipelines --limit 3 --repo ${did}/site`);
    const more = /\nMore: whorl (.*)$/.exec(first.out)?.[1] ?? '';
    expect(more).toMatch(/^pipelines --limit 3 --repo did:plc:pages\/site --after [\w-]+$/);
    const second = await whorl(more);
    expect(second.out.match(/--after/g)).toHaveLength(1);
    const third = await whorl(/\nMore: whorl (.*)$/.exec(second.out)?.[1] ?? '');
    expect(third.out).not.toContain('More:');
    const shown = [first, second, third].flatMap(({ out }) => out.match(/knot\.example\/\S+/g) ?? []);
    expect(shown).toEqual(all.map((id) => id.replace('pipeline/', '')));
  });
});

test('nothing is said in words', async () => {
  expect((await whorl('pipelines --repo did:plc:nobody')).out).toBe('No pipeline fits.');
  const empty = await freshDatabase();
  const nothing = await commandLine(() => empty.url)('pipelines');
  expect(nothing.out).toMatch(/^There is no pipeline yet: `whorl repos list`/);
  await empty.drop();
});

test('the table fits into a terminal, and into a pipe it is whole', async () => {
  const did = `did:plc:${'x'.repeat(24)}`;
  const branch = 'a-rather-long-branch-name-that-somebody-chose';
  await plannedPipeline(db.sql, { did, repo: 'a-repository', branch, knot: 'knot1.tangled.sh' });
  const at = (columns: number) =>
    commandLine(() => db.url, { colours: true, terminal: { size: () => ({ columns, rows: 24 }), write() {} } });
  for (const columns of [80, 120]) {
    const { out } = await at(columns)(`pipelines --repo ${did}`);
    // oxlint-disable-next-line no-control-regex -- the codes of colours are what it is about
    const lines = out.replaceAll(/\u001b\[\d*m/g, '').split('\n');
    expect(out).toContain('\u001b[');
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(columns);
  }
  expect((await at(80)(`pipelines --repo ${did} --no-color`)).out).not.toContain('\u001b');
  const piped = await whorl(`pipelines --repo ${did}`);
  expect(piped.out).toContain(branch);
  expect(piped.out).not.toContain('\u001b');
});

test('words of strangers are made safe', async () => {
  await plannedPipeline(db.sql, { did: 'did:plc:evil', branch: 'main\u001b[2J', repo: 'x\u202ey' });
  for (const form of ['', ' --json']) {
    const { out } = await whorl(`pipelines --repo did:plc:evil${form}`);
    expect(out).toContain('[2J');
    expect(out).not.toMatch(/[^\P{Cc}\n]|\u202e/u);
  }
});

test('what is asked of a large table goes by an index', async () => {
  await db.sql`
    insert into pipelines (id, knot, rkey, did, repo, kind, commit, branch, title, created_at)
    select 'pipeline/big.example/' || n, 'big.example', n, 'did:plc:' || n % 50, 'r' || n % 7, 'push', 'c', 'main', 't',
      now() - n * interval '1 minute' - interval '100 days' from generate_series(1, 12000) n`;
  await db.sql`
    insert into jobs (pipeline, name, position, status, rank)
    select id, 'ci.yml', 0, case when rkey::int % 5000 = 0 then 'timeout' when rkey::int % 4000 = 0 then 'running' else 'success' end, 2
    from pipelines where knot = 'big.example'`;
  await db.sql`analyze pipelines, jobs`;
  const plans: Record<string, string> = {};
  const explained = new Proxy(db.sql, {
    apply: (target, _self, [strings, ...values]: [string[] & { raw: string[] }, ...unknown[]]) =>
      strings[0]?.trim().startsWith('select id, knot')
        ? target(
            Object.assign([`explain ${strings[0]}`, ...strings.slice(1)], { raw: strings.raw }) as never,
            ...(values as never[]),
          )
        : target(strings as never, ...(values as never[])),
  });
  for (const [name, filter] of Object.entries({
    newest: {},
    page: { after: { place: '1767225600000000', id: 'x' } },
    repo: { did: 'did:plc:3', repo: 'r2' },
    open: { state: 'open' as const },
    timeout: { state: 'timeout' as const },
    parked: { state: 'parked' as const, cause: 'Forbidden' },
  })) {
    const rows = (await listPipelines(explained, filter, 20)) as unknown as { 'QUERY PLAN': string }[];
    plans[name] = rows.map((row) => row['QUERY PLAN']).join('\n');
    expect([name, plans[name]]).toEqual([name, expect.stringMatching(/Index (?:Only )?Scan.* on (?:pipelines|jobs)/)]);
    expect([name, plans[name]]).toEqual([name, expect.not.stringContaining('Seq Scan on pipelines')]);
    expect([name, plans[name]]).toEqual([name, expect.not.stringContaining('Seq Scan on jobs')]);
  }
});
