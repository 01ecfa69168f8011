import { readFile } from 'node:fs/promises';
import { expect, inject, test } from 'vitest';
import { CommandError } from '../../src/cli/errors.ts';
import { replayAll, type Result } from '../../src/cli/replay-run.ts';
import type { History } from '../../src/cli/replay-source.ts';
import { explain } from '../../src/cli/replay-words.ts';
import { storedHistories } from '../support/histories/files.ts';

const history = await parkedAndRetried();
const events = history.events ?? [];

async function parkedAndRetried(): Promise<History> {
  const found = (await storedHistories()).find(({ name }) => name === '0.2.0/parked-and-retried.json');
  if (!found) throw new Error('the history is missing');
  return found.history;
}

/** As the SDK wraps what its core found: a debug print of Rust. */
const failed = (message: string, stack = ''): Error =>
  new Error(
    `Details: Workflow activation completion failed: Failure { failure: Some(Failure { message: "${message}", ` +
      `source: "", stack_trace: "${stack}", cause: None }), force_cause: NonDeterministicError }`,
  );
const core = (text: string): Error => failed(`[TMPRL1100] Nondeterminism error: ${text}`);
const numberOf = (key: string): number =>
  Number(String(events.find((event) => Object.keys(event).includes(`${key}EventAttributes`))?.eventId));

test.each([
  [
    core("Activity id of scheduled event 'publish:0.1' does not match activity id of activity command 'publish:0.9'"),
    { event: 6, why: 'the history has the activity publish:0.1 there, and this code the activity publish:0.9' },
  ],
  [
    // parked once and created twice
    core("Activity id of scheduled event 'create:ci.yml' does not match activity id of activity command '3'"),
    {
      event: null,
      why: expect.stringMatching(
        /activity create:ci\.yml there, .* an activity without a name \(at one of the events 5, \d+\)$/,
      ),
    },
  ],
  [
    core("Activity type of scheduled event 'bring' does not match activity type of activity command 'read'"),
    {
      event: expect.any(Number),
      why: 'the history has an activity of the type bring there, and this code an activity of the type read',
    },
  ],
  [
    core(`No command scheduled for event HistoryEvent(id: ${numberOf('timerStarted')}, TimerStarted)`),
    {
      event: numberOf('timerStarted'),
      why: 'the history has a timer "until something is due" there, and this code nothing',
    },
  ],
  [
    core(
      `Complete workflow machine does not handle this event: HistoryEvent(id: ${numberOf('timerCanceled')}, TimerCanceled)`,
    ),
    {
      event: numberOf('timerCanceled'),
      why: 'the history has a timer that is given up there, and this code the end of the workflow',
    },
  ],
  [
    core(
      `Odd machine does not handle this event: HistoryEvent(id: ${numberOf('workflowExecutionUpdateAccepted')}, WorkflowExecutionUpdateAccepted)`,
    ),
    {
      event: numberOf('workflowExecutionUpdateAccepted'),
      why: 'the history has the update retryStep accepted there, and this code something else (Odd)',
    },
  ],
  [
    core('Activity machine does not handle this event: HistoryEvent(id: 9999, WorkflowExecutionPaused)'),
    { event: 9999, why: 'the history has an event WorkflowExecutionPaused there, and this code an activity' },
  ],
  [
    core('something that no release has said yet'),
    { event: null, why: 'this code and the history differ: something that no release has said yet' },
  ],
  [
    failed(
      String.raw`no \"luck\"\nat all\u{1f600}`,
      String.raw`Error\n    at run (/somewhere/src/workflows/run.ts:7:1)\n    at x`,
    ),
    { event: null, why: 'this code throws "no "luck"\nat all😀" at src/workflows/run.ts:7' },
  ],
  [new Error('a text of another form'), { event: null, why: 'this code throws "a text of another form"' }],
])('%s is said in words', (error, expected) => {
  expect(explain(error, events)).toMatchObject(expected);
});

test('what Temporal said is kept beside the words', () => {
  expect(explain(core('so'), events).detail).toBe('[TMPRL1100] Nondeterminism error: so');
});

const code = await readFile(inject('workflowBundlePath'), 'utf8');

/** So many runs of one history, with what is known of them at any time. */
async function replayed(count: number, concurrency: number, kept: (n: number) => History | undefined) {
  const seen: Result[] = [];
  let fetched = 0;
  let most = 0;
  async function* runs() {
    for (let n = 0; n < count; n += 1) yield { workflowId: `${n}`, runId: `run-${n}` };
  }
  const source = {
    history: async ({ workflowId }: { workflowId: string }) => {
      fetched += 1;
      most = Math.max(most, fetched - seen.length);
      return kept(Number(workflowId));
    },
  };
  await replayAll({ source, runs: runs(), code, concurrency, report: (result) => void seen.push(result) });
  return { seen, most };
}

test('many histories are replayed with few of them in memory', async () => {
  const { seen, most } = await replayed(40, 2, () => history);
  expect(seen.map(({ outcome }) => outcome)).toEqual(Array.from({ length: 40 }, () => 'replays'));
  expect(new Set(seen.map(({ runId }) => runId)).size).toBe(40);
  expect(most).toBeLessThanOrEqual(5);
});

test('one that is no longer kept is told of, and holds up no other', async () => {
  const { seen } = await replayed(5, 1, (n) => (n === 2 ? undefined : history));
  expect(seen.map(({ outcome }) => outcome)).toEqual(['replays', 'replays', 'gone', 'replays', 'replays']);
});

test('when Temporal goes away in between, that is what it ends with', async () => {
  const away = replayed(20, 2, (n) => {
    if (n === 7) throw new CommandError('Temporal does not answer', 2);
    return history;
  });
  await expect(away).rejects.toThrow('Temporal does not answer');
});
