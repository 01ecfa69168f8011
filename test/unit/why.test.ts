import { describe, expect, test } from 'vitest';
import { details } from '../../src/pipeline/details.ts';
import { bind, hear, newJob } from '../../src/pipeline/job.ts';
import { inMarkdown } from '../../src/pipeline/inert.ts';
import { lasting } from '../../src/pipeline/lasting.ts';
import { commandLine, todo, wait } from '../../src/pipeline/wait.ts';
import { type JobState, waitsOf } from '../../src/pipeline/waits.ts';
import { explain } from '../../src/pipeline/why.ts';
import { activity, ago, facts, failing, hence, id, job, post } from '../support/facts.ts';
import type { Books, Engine, WhyFacts } from '../../src/pipeline/why-facts.ts';

describe('the cause that is told first', () => {
  const away: Engine = { asked: true, answers: false, server: 'temporal:7233', why: 'ECONNREFUSED' };
  test.each<[string, WhyFacts, { cause: string; standing: string; sentence: RegExp }]>([
    [
      'workflow code that fails',
      facts({}, { task: { attempt: 4, started: false, since: ago(1_000), failure: 'Nondeterminism: no such timer' } }),
      { cause: 'workflow-failing', standing: 'needs a person', sentence: /Nondeterminism: no such timer\.$/ },
    ],
    [
      'a task that nobody takes although a worker was seen',
      facts({}, { task: { attempt: 1, started: false, since: ago(20_000), failure: null }, waits: null }),
      { cause: 'no-worker', standing: 'needs a person', sentence: /task queue whorl \(one did last 2 s ago\)/ },
    ],
    [
      'an activity that nobody takes',
      facts({}, { activities: [activity] }),
      { cause: 'no-worker', standing: 'needs a person', sentence: /none takes work/ },
    ],
    [
      'a worker that was last seen long ago',
      facts({}, { workerSeen: ago(120_000) }),
      { cause: 'no-worker', standing: 'needs a person', sentence: /one did last 120 s ago/ },
    ],
    [
      'a slot of the rate budget',
      facts({}, { activities: [failing('RateLimited', 'the next slot comes later')] }),
      { cause: 'rate-limited', standing: 'going on', sentence: /the CI to make its build: the next slot comes later/ },
    ],
    [
      'statuses that cannot be stored',
      facts({}, { activities: [{ ...failing('Transient', 'The database is not available'), id: 'publish:0.3' }] }),
      { cause: 'failing', standing: 'going on', sentence: /^It waits for its statuses to be stored: The database/ },
    ],
    [
      'a workflow that Temporal does not know',
      facts({}, null),
      { cause: 'workflow-ended', standing: 'needs a person', sentence: /Temporal does not know its workflow/ },
    ],
    [
      'Temporal away, before what the rows tell of a lost answer',
      facts(
        {
          posts: [post],
        },
        {},
        { engine: away },
      ),
      { cause: 'temporal-away', standing: 'needs a person', sentence: /ECONNREFUSED/ },
    ],
    [
      'Temporal away after the end',
      facts({ jobs: [{ ...job, status: 'success' }] }, {}, { engine: away }),
      { cause: 'green', standing: 'ended', sentence: /ci\.yml success\.$/ },
    ],
    [
      'nobody to ask about Temporal',
      facts(
        { jobs: [{ ...job, status: 'running', build: 'b1' }] },
        {},
        { engine: { asked: false, why: 'nobody knows' } },
      ),
      { cause: 'running', standing: 'going on', sentence: /the CI to end build b1/ },
    ],
    [
      'what is still to be sent once more does not change the end',
      facts({ jobs: [{ ...job, status: 'failed', exitCode: 3 }] }, { waits: [wait('resend', 'the time to send')] }),
      { cause: 'red', standing: 'ended', sentence: /ci\.yml failed: exit code 3\.$/ },
    ],
    [
      'a withheld status that nobody releases',
      facts({
        jobs: [{ ...job, status: 'success' }],
        statuses: [
          {
            job: 'ci.yml',
            attempt: 1,
            epoch: 0,
            status: 'success',
            error: null,
            createdAt: ago(60_000),
            shownAt: null,
            state: 'due',
            resend: false,
          },
        ],
      }),
      { cause: 'withheld', standing: 'needs a person', sentence: /its status success/ },
    ],
  ])('is %s', (_what, given, { cause, standing, sentence }) => {
    const why = explain(given);
    expect(why).toMatchObject({ cause, standing });
    expect(why.sentence).toMatch(sentence);
  });
});

test('what follows a lost Temporal is what the rows tell', () => {
  const parked = { ...job, parked: 'Forbidden', error: 'Waiting for the operator (create): No scope.' };
  const { waits } = explain(
    facts({ jobs: [parked] }, {}, { engine: { asked: true, answers: false, server: 't', why: 'x' } }),
  );
  expect(waits.map(({ cause, what }) => [cause, what])).toEqual([
    ['temporal-away', 'Temporal (t), which does not answer: x'],
    ['parked', 'the operator (Forbidden at create): No scope.'],
  ]);
});

test.each<[string, Partial<Books>, object]>([
  [
    'a turn that is still to come',
    { slots: [{ key: `create/${id}/ci.yml/1`, at: hence(9_000) }] },
    { cause: 'rate-limited', next: { at: hence(9_000).getTime() } },
  ],
  ['a POST under way', { posts: [{ ...post, looks: 0 }] }, { cause: 'create' }],
  [
    'a POST that had no answer',
    { posts: [{ ...post, looks: 0, postedAt: ago(90_000) }] },
    { cause: 'answer-lost', since: ago(90_000).getTime() },
  ],
  [
    'searches in vain',
    { posts: [post] },
    { cause: 'answer-lost', what: 'the build of a POST that had no answer; 2 searches found nothing' },
  ],
  ['a build that runs', { jobs: [{ ...job, status: 'running', build: 'b1' }] }, { cause: 'running' }],
])('without the workflow, its rows tell of %s', (_what, some, wanted) => {
  const { waits } = explain(facts(some, { waits: null }));
  expect(waits).toMatchObject([wanted]);
});

test('a webhook that nobody carries on is told as such', () => {
  const delivery = {
    event: 'build.finished',
    build: 'b1',
    job: 'ci.yml',
    state: 'new' as const,
    reason: null,
    receivedAt: ago(60_000),
    dueAt: ago(60_000),
    settledAt: null,
    tries: 0,
    status: null,
  };
  const { cause, sentence } = explain(facts({ deliveries: [delivery], dispatched: false }));
  expect([cause, sentence]).toEqual([
    'not-dispatched',
    'It waits for a process that carries its webhooks to Temporal: none does.',
  ]);
});

test('an activity is of the job that its id names, also when names look alike', () => {
  const jobs = ['a', 'a:1', 'a#2', 'b'].map((name) => ({ ...job, name }));
  const of = (name: string) =>
    explain(facts({ jobs }, { activities: [{ ...failing('Transient', 'x'), id: name }] })).waits.map((one) => one.job);
  expect(of('create:a')).toEqual(['a']);
  expect(of('create:a:1')).toEqual(['a:1']);
  expect(of('create:a#2')).toEqual(['a#2']);
  expect(of('create:a#3')).toEqual(['a']);
  expect(of('sweep:b:0')).toEqual(['b']);
  expect(of('read:0.1')).toEqual([null]);
});

test('the end at the CI is never told before the build was known, though its clock tells whole seconds', () => {
  const attempt = {
    job: 'ci.yml',
    attempt: 1,
    command: null,
    adoptedFrom: null,
    build: 'b1',
    createdAt: ago(9_000),
    boundAt: ago(8_400),
    cancelAskedAt: null,
    learnt: 'read' as const,
    endedAt: ago(8_000),
  };
  const ended = {
    ...job,
    status: 'success' as const,
    build: 'b1',
    ends: { b1: { status: 'success' as const, at: ago(9_000).getTime() } },
  };
  const { steps } = explain(facts({ jobs: [ended], attempts: [attempt] }));
  expect(steps.find(({ what }) => what === 'ended at the CI: success')?.at).toBe(ago(8_400).getTime());
});

describe('what the workflow says of itself', () => {
  const run: JobState = {
    name: 'ci.yml',
    job: newJob(),
    parked: null,
    creating: 1,
    stopping: null,
    doubts: [],
    held: {},
    owed: null,
    heardAt: 1_000,
    quiet: 2_000,
    startedAt: 500,
  };
  const state = (some: Partial<JobState>, more = {}) =>
    waitsOf({
      id,
      durations: { deadline: 100_000, parkLimit: 50_000, resend: 45_000 },
      runs: [{ ...run, ...some }],
      firstShown: 1_000,
      resent: true,
      expecting: null,
      unpublished: [],
      unlogged: [],
      ...more,
    });
  const ci = { epoch: 0, by: 'ci' as const };
  const bound = bind(newJob(), 1, 'b1');
  const ended = hear(bound, 'b1', { ...ci, status: 'success', at: 900 });

  test.each<[string, ReturnType<typeof waitsOf>, object[]]>([
    ['a create', state({}), [{ cause: 'create', since: 500, limit: { at: 100_500 } }]],
    ['a build that waits', state({ job: bound }), [{ cause: 'starting', since: 1_000, next: { at: 3_000 } }]],
    [
      'a build that runs',
      state({ job: hear(bound, 'b1', { ...ci, status: 'running', at: 0 }) }),
      [{ cause: 'running', next: { at: 3_000 }, limit: { at: 100_500 } }],
    ],
    [
      'a failure that only a read explains',
      state({ job: bound, held: { b1: { until: 7_000 } } }),
      [{ cause: 'unexplained', limit: { at: 7_000 } }],
    ],
    [
      'a person',
      state({ parked: { step: 'create', cause: 'Forbidden', message: 'No.', since: 2_000 } }),
      [{ cause: 'parked', since: 2_000, limit: { at: 52_000 }, person: true }],
    ],
    [
      'the CI to stop a build',
      state({ job: bound, stopping: { attempt: 1, why: 'cancel', by: 'ada' } }),
      [{ cause: 'cancelling', what: 'the CI to stop the build, asked for by ada' }],
    ],
    ['nothing after the end', state({ job: ended }), []],
    [
      'a read that is owed',
      state({ job: ended, owed: { at: 9_000, since: 4_000 } }),
      [{ cause: 'owed-read', next: { at: 9_000 } }],
    ],
    [
      'builds that may surface',
      state({ job: ended, doubts: [{ attempt: 1, due: [8_000] }] }),
      [{ cause: 'doubt', next: { at: 8_000 } }],
    ],
    ['the resend', state({ job: ended }, { resent: false }), [{ cause: 'resend', next: { at: 46_000 } }]],
    ['its log', state({ job: ended }, { unlogged: ['ci.yml'] }), [{ cause: 'log', job: 'ci.yml' }]],
    ['its status', state({ job: ended }, { unpublished: ['ci.yml'] }), [{ cause: 'publishing', job: 'ci.yml' }]],
    [
      'the word that opened it',
      state({ job: ended }, { expecting: 6_000 }),
      [{ cause: 'reopened', limit: { at: 6_000 } }],
    ],
  ])('%s', (_what, waits, wanted) => {
    expect(waits).toMatchObject(wanted);
    expect(waits).toHaveLength(wanted.length);
  });
});

describe('the details in the Temporal UI', () => {
  const row = { job: 'ci.yml', attempt: 1, status: 'pending', build: null, why: '' };

  test('stay small, however many jobs there are and however long what they say is', () => {
    const rows = Array.from({ length: 2_000 }, (_, n) => ({ ...row, job: `${n}.yml`, why: '字'.repeat(2_000) }));
    const waits = rows.map((one) => wait('parked', '|'.repeat(3_000), { job: one.job, person: true }));
    const text = details(id, rows, waits);
    expect(Buffer.byteLength(text)).toBeLessThan(16 * 1024);
    expect(text).toMatch(/… and \d+ more \|/);
    expect(text).toMatch(/- … and \d+ more/);
    expect(text).toContain(`\`whorl why ${id}\``);
  });

  test('tell what needs a person first', () => {
    const text = details(
      id,
      [row],
      [wait('running', 'the CI', { job: 'a' }), wait('parked', 'somebody', { job: 'b', person: true })],
    );
    expect(text.indexOf('**b**')).toBeLessThan(text.indexOf('**a**'));
    expect(text.indexOf('**a**')).toBeLessThan(text.indexOf('| job |'));
  });

  test('name builds by the beginnings of their ids', () => {
    const build = '123b6fbd-47f2-4a99-9a25-d2ec7481a9b1';
    const text = details(id, [{ ...row, build }], [wait('running', `the CI to end build ${build}`, { job: 'a' })]);
    expect(text).toMatch(/end build 123b6fbd[.:]/);
    expect(text).toMatch(/\| 123b6fbd \|/);
  });

  test('are inert, whatever strangers wrote', () => {
    const nasty = '[x](https://evil.example) <img src=x> ![a](b) `code` | \u202e www.evil.example\n# head';
    const waits = [
      wait('parked', nasty, { job: nasty, todo: [todo(nasty, 'whorl', 'retry', id, nasty)], person: true }),
    ];
    const text = details(`pipeline/k/${nasty}`, [{ ...row, job: nasty, why: nasty, build: nasty }], waits);
    expect(text).not.toMatch(
      /(?<!\\)\[x|(?<!\\)<img|(?<!\\)!\\?\[a|https:\/\/evil|www\.evil|\u202e|\n# head|(?<!\\)`code/,
    );
  });
});

test('words that need no closer look come out as they would after one', () => {
  const pieces = [
    'a',
    'Z',
    '9',
    '1',
    '.',
    ')',
    '(',
    ':',
    '//',
    '/',
    'www',
    ' ',
    '-',
    '+',
    '#',
    '=',
    "'",
    ',',
    '_',
    '@',
    '<',
    'é',
    '|',
    '*',
  ];
  let plain = 0;
  for (let n = 0; n < 20_000; n += 1) {
    const text = Array.from(
      { length: 1 + (n % 9) },
      (_, i) => pieces[(n * 31 + i * (n % 97) + i * i * 7) % pieces.length],
    ).join('');
    const shown = inMarkdown(text);
    // What ends in a new line is looked at piece by piece, and loses it.
    expect(shown).toBe(inMarkdown(`${text}\n`));
    if (shown === text) plain += 1;
  }
  expect(plain).toBeGreaterThan(1_000);
});

test('a command can be copied, or is not given at all', () => {
  expect(commandLine('whorl', 'retry', id, 'ci.yml')).toBe(`whorl retry ${id} ci.yml`);
  expect(commandLine('whorl', 'retry', "it's; rm -rf ~")).toBe(`whorl retry 'it'\\''s; rm -rf ~'`);
  expect(commandLine('temporal', '--activity-id', 'create:ci.yml#2')).toBe("temporal --activity-id 'create:ci.yml#2'");
  expect(commandLine('whorl', 'retry', 'a\u202eb')).toBeUndefined();
  expect(commandLine('whorl', 'retry', '')).toBeUndefined();
  expect(commandLine('whorl', 'retry', '--all=x')).toBe("whorl retry '--all=x'");
  expect(todo('Then', 'whorl', 'a\nb')).toEqual({ text: 'Then' });
});

test.each([
  [0, '0 ms'],
  [999, '999 ms'],
  [4_230, '4.2 s'],
  [60_000, '1 min'],
  [123_456, '2 min 3 s'],
  [7_380_000, '2 h 3 min'],
  [262_800_000, '3 d 1 h'],
])('%i ms is %s', (ms, text) => {
  expect(lasting(ms)).toBe(text);
});
