import { readFile } from 'node:fs/promises';
import { expect, inject, test, vi } from 'vitest';
import { replayAll, type Result } from '../../src/cli/replay-run.ts';
import { changedBundle, type Edit } from '../support/histories/changed.ts';
import { isOfShape, leaksOf, release, storedHistories } from '../support/histories/files.ts';
import { shapes } from '../support/histories/shapes.ts';
import { missingOf, traits } from '../support/histories/traits.ts';

vi.setConfig({ testTimeout: 90_000 });

const stored = await storedHistories();

/** What a bundle of the workflows breaks: `<release>/<file>`, and how. */
async function broken(code: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  const byName = new Map(stored.map(({ name, history }) => [name, history]));
  async function* runs() {
    for (const { name } of stored) yield { workflowId: name, runId: '' };
  }
  const report = (result: Result): void => {
    if (result.outcome === 'replays') return;
    found[result.workflowId] = result.outcome === 'breaks' ? `event ${result.event}: ${result.why}` : result.outcome;
  };
  const source = { history: async ({ workflowId }: { workflowId: string }) => byName.get(workflowId) };
  await replayAll({ source, runs: runs(), code, concurrency: 2, report });
  return found;
}

test('the histories that releases recorded replay on the code of today', async () => {
  expect(new Set(stored.map((each) => each.release)).size).toBeGreaterThan(1);
  expect(await broken(await readFile(inject('workflowBundlePath'), 'utf8'))).toEqual({});
});

test.for(shapes)(
  'this release has recorded the shape $name, and it went the way that it is named after',
  ({ name, has }) => {
    const runs = stored.filter((each) => each.release === release && isOfShape(name, each.file));
    expect(runs, 'npm run record-histories records what is missing').not.toEqual([]);
    expect(
      missingOf(
        has,
        runs.map(({ history }) => history),
      ),
    ).toEqual([]);
  },
);

test('no history tells of the machine that recorded it, or holds a secret', () => {
  expect(stored.flatMap(({ name, text }) => leaksOf(text).map((leak) => [name, leak]))).toEqual([]);
});

test('what tells of a machine is found, also inside of a payload', () => {
  const data = Buffer.from(JSON.stringify('read /home/somebody/token')).toString('base64');
  const text = `{ "identity": "4711@build-host", "a": { "data": "${data}" }, "url": "http://127.0.0.1/v2/tmp/x" }`;
  expect(leaksOf(text, ['a-host'])).toEqual(['/home/somebody/token', '4711@build-host']);
});

/** Those in which something happened that a changed workflow would do otherwise. */
const withTrait = (pattern: RegExp): string[] =>
  stored.filter(({ history }) => [...traits([history])].some((trait) => pattern.test(trait))).map(({ name }) => name);

const ofPipelines = stored.map(({ name }) => name).filter((name) => !name.endsWith('/housekeeping.json'));
/** All but one, which ended before it began, since another run had its epoch. */
const begun = ofPipelines.filter((name) => name !== '0.2.0/opened-twice-3.json');

const begins = 'for (const run of p.runs) begin(p, run);';
const waits = 'await condition(() => false, 1000);';

interface Change {
  what: string;
  edits: Edit[];
  breaks: string[];
  /** What is said of one of them. */
  says?: [name: string, why: RegExp];
}

const changes: Change[] = [
  {
    what: 'no longer shows what is parked',
    edits: [['workflows/park.ts', 'if (causes.join() !== p.parkedCauses)', 'if (causes.length > 1e9)']],
    breaks: withTrait(/^shows Parked$/),
    says: [
      '0.2.0/parked-to-its-limit.json',
      /^event \d+: the history has a change of the search attributes Parked there, and this code a timer$/,
    ],
  },
  {
    what: 'looks no more for a build whose answer was lost',
    edits: [['workflows/clock.ts', 'sweep(p, run, doubt);', 'doubt.due.shift();']],
    breaks: withTrait(/^sweep:/),
    says: ['0.2.0/lost-answer.json', /^event \d+: the history has the activity sweep:ci\.yml:1 there, and this code /],
  },
  {
    what: 'names searches that wait together alike',
    edits: [['workflows/builder.ts', "patched('sweep-keeps-its-name')", 'false']],
    breaks: withTrait(/^sweep:ci\.yml:2$/),
  },
  {
    what: 'gives its reads another name',
    edits: [['workflows/reader.ts', 'activityId: `read:', 'activityId: `look:']],
    breaks: withTrait(/^read:/),
    says: [
      '0.2.0/silence.json',
      /^event \d+: the history has the activity read:0\.1 there, and this code the activity look:0\.1$/,
    ],
  },
  {
    what: 'knows no cancel',
    edits: [['workflows/messages.ts', "CommandInput]>('cancel')", "CommandInput]>('stop')"]],
    breaks: withTrait(/^update cancel$/),
    says: ['0.2.0/cancelled.json', /^event \d+: the history has the update cancel accepted there, and this code /],
  },
  {
    what: 'throws when it opens again',
    edits: [['workflows/pipeline.ts', 'if (!found.claimed) return false;', "throw new Error('no way');"]],
    breaks: withTrait(/^reopen$/),
    says: ['0.2.0/opened-again-2.json', /^event null: this code throws "no way" at src\/workflows\/pipeline\.ts:\d+$/],
  },
  {
    what: 'has another name',
    edits: [['workflows/index.ts', '{ pipeline }', '{ pipeline as other }']],
    breaks: ofPipelines,
    says: ['0.1.0/one-job.json', /^event 1: this code has no workflow of the type pipeline$/],
  },
  {
    what: 'sets a search attribute before it begins',
    edits: [
      ['workflows/pipeline.ts', begins, `upsertSearchAttributes({ Parked: ['so'] }); ${begins}`],
      ['workflows/pipeline.ts', '  continueAsNew,', '  continueAsNew,\n  upsertSearchAttributes,'],
    ],
    breaks: begun,
    says: [
      '0.1.0/one-job.json',
      /^event 5: the history has the activity create:ci\.yml there, and this code a change of search attributes$/,
    ],
  },
  {
    what: 'waits before it begins',
    edits: [['workflows/pipeline.ts', begins, `${waits} ${begins}`]],
    breaks: begun,
    says: ['0.1.0/one-job.json', /^event 5: the history has the activity create:ci\.yml there, and this code a timer$/],
  },
  {
    what: 'waits before it begins, but only what it starts itself',
    edits: [['workflows/pipeline.ts', begins, `if (patched('wait')) ${waits} ${begins}`]],
    breaks: [],
  },
  {
    what: 'gives its steps other limits, queues and inputs, and its timers another length',
    edits: [
      ['workflows/activities.ts', 'taskQueue: logQueue(workflowInfo().taskQueue)', "taskQueue: 'another'"],
      ['workflows/activities.ts', "startToCloseTimeout: '15m'", "startToCloseTimeout: '1h'"],
      ['workflows/clock.ts', 'due - Date.now(), {', 'due - Date.now() + 5_000, {'],
      ['workflows/reader.ts', '[{ pipeline: p.id, builds }]', '[{ pipeline: p.id, builds: [...builds, ...builds] }]'],
    ],
    breaks: [],
  },
  {
    what: 'says something else to people',
    edits: [['pipeline/details.ts', '**Needs a person.**', '**Waiting for you.**']],
    breaks: [],
  },
];

test.for(changes)(
  'a workflow that $what breaks the histories in which that matters, says how, and breaks no other',
  async ({ edits, breaks, says }) => {
    const found = await broken(await changedBundle(edits));
    expect(Object.keys(found).toSorted()).toEqual(breaks.toSorted());
    if (says) expect(found[says[0]]).toMatch(says[1]);
  },
);
