import type { History } from './replay-source.ts';

type Event = NonNullable<History['events']>[number];

/** Where a history and the code part, in words for whoever changed the code. */
export interface Difference {
  /** The number of the event in the history, where it is known. */
  event: number | null;
  why: string;
  /** What Temporal's SDK said. */
  detail: string;
}

/** Says what an error of the SDK's replay means for this history. */
export function explain(error: Error, events: readonly Event[]): Difference {
  const { message, stack } = failureIn(error.message);
  const at = (event: number | null, why: string): Difference => ({ event, why, detail: message });

  const other =
    /Activity (?:id|type) of scheduled event '(.*)' does not match activity (id|type) of activity command '(.*)'/s;
  const [, theirs, by, ours] = other.exec(message) ?? [];
  if (theirs !== undefined && ours !== undefined) {
    const named = by === 'type' ? (name: string) => `an activity of the type ${name}` : activity;
    const found = events.filter((event) => keysOf(event)[by === 'type' ? 'type' : 'id'] === theirs).map(numberOf);
    const [only, ...more] = found;
    const where = more.length > 0 ? ` (at one of the events ${found.join(', ')})` : '';
    return at(more.length === 0 ? (only ?? null) : null, differs(named(theirs), named(ours)) + where);
  }

  const [, number, type = ''] = /HistoryEvent\(id: (\d+), (\w+)\)/.exec(message) ?? [];
  if (number !== undefined) {
    const event = events.find((each) => numberOf(each) === Number(number));
    const machine = /error: \W*([\w ]+?) ?machine (?:does not|cannot) handle/i.exec(message)?.[1];
    const code = machine === undefined ? 'nothing' : (machines[machine] ?? `something else (${machine})`);
    return at(Number(number), differs(nounOf(event, type, events), code));
  }

  const [, patch] = /patch marker encountered for change (.*), but there is no/s.exec(message) ?? [];
  if (patch !== undefined) {
    const event = events.find((each) => patchOf(each) === patch);
    const why = `the history has the mark of patched('${patch}'), and this code no longer asks for it`;
    return at(event ? numberOf(event) : null, why);
  }

  if (message.includes('no such function is exported')) {
    return at(
      1,
      `this code has no workflow of the type ${events[0]?.workflowExecutionStartedEventAttributes?.workflowType?.name}`,
    );
  }
  if (message.includes('execution timed out')) return at(null, 'this code does not come to rest: it loops for ever');
  if (message.includes('TMPRL1100'))
    return at(null, `this code and the history differ: ${message.replace(/^.*Nondeterminism error: /s, '')}`);
  const place = /\(?[^\s(]*\/(src\/[^\s):]+:\d+)/.exec(stack)?.[1];
  return at(null, `this code throws "${message}"${place === undefined ? '' : ` at ${place}`}`);
}

const differs = (history: string, code: string): string => `the history has ${history} there, and this code ${code}`;

/** The failure inside of what the SDK prints, which is a debug print of Rust. */
function failureIn(text: string): { message: string; stack: string } {
  const field = (name: string): string | undefined => {
    const found = new RegExp(`${name}: "((?:[^"\\\\]|\\\\.)*)"`, 's').exec(text)?.[1];
    return found?.replaceAll(/\\(u\{([0-9a-f]+)\}|.)/gs, (_all, escaped: string, code?: string) =>
      code === undefined ? (escapes[escaped] ?? escaped) : String.fromCodePoint(Number.parseInt(code, 16)),
    );
  };
  return { message: field('message') ?? text, stack: field('stack_trace') ?? '' };
}

const escapes: Record<string, string> = { n: '\n', t: '\t', r: '\r', 0: '\0' };

/** What the code has next, by the SDK's names for it. */
const machines: Record<string, string> = {
  Activity: 'an activity',
  Timer: 'a timer',
  'Complete workflow': 'the end of the workflow',
  'Continue as new workflow': 'continue-as-new',
  'Fail workflow': 'a failure of the workflow',
  'Cancel workflow': 'a cancelled end of the workflow',
  Update: 'the answer to an update',
  UpsertWorkflowSearchAttributes: 'a change of search attributes',
  ModifyWorkflowProperties: 'a change of the memo',
  Change: 'a call of patched()',
};

/** An activity without an id of its own has a number. */
const activity = (id: string): string => (/^\d+$/.test(id) ? 'an activity without a name' : `the activity ${id}`);

const numberOf = ({ eventId }: Event): number => Number(String(eventId));

const keysOf = ({ activityTaskScheduledEventAttributes: scheduled }: Event): { id?: unknown; type?: unknown } => ({
  id: scheduled?.activityId,
  type: scheduled?.activityType?.name,
});

/** The name that was given to `patched`. */
function patchOf({ markerRecordedEventAttributes: marker }: Event): string | undefined {
  const patch = jsonOf(marker?.details?.['patch-data']?.payloads?.[0]?.data);
  return typeof patch === 'object' && patch !== null && 'id' in patch ? String(patch.id) : undefined;
}

function nounOf(event: Event | undefined, type: string, events: readonly Event[]): string {
  const about = nouns[type];
  return (event && about?.(event, events)) ?? `an event ${type}`;
}

const nouns: Record<string, (event: Event, events: readonly Event[]) => string> = {
  ActivityTaskScheduled: (event) => activity(String(keysOf(event).id)),
  ActivityTaskCancelRequested: ({ activityTaskCancelRequestedEventAttributes: cancel }, events) => {
    const scheduled = events.find((each) => String(each.eventId) === String(cancel?.scheduledEventId));
    return `a cancel of ${scheduled ? activity(String(keysOf(scheduled).id)) : 'an activity'}`;
  },
  TimerStarted: ({ userMetadata }) => `a timer${quoted(jsonOf(userMetadata?.summary?.data))}`,
  TimerCanceled: () => 'a timer that is given up',
  UpsertWorkflowSearchAttributes: ({ upsertWorkflowSearchAttributesEventAttributes: upsert }) =>
    `a change of the search attributes ${Object.keys(upsert?.searchAttributes?.indexedFields ?? {}).join(', ')}`,
  MarkerRecorded: (event) => `the mark of patched('${patchOf(event)}')`,
  WorkflowExecutionUpdateAccepted: ({ workflowExecutionUpdateAcceptedEventAttributes: update }) =>
    `the update ${update?.acceptedRequest?.input?.name ?? ''} accepted`,
  WorkflowExecutionUpdateCompleted: () => 'the answer to an update',
  WorkflowExecutionCompleted: () => 'the end of the workflow',
  WorkflowExecutionContinuedAsNew: () => 'continue-as-new',
  WorkflowExecutionFailed: () => 'a failure of the workflow',
};

const quoted = (summary: unknown): string => (typeof summary === 'string' ? ` "${summary}"` : '');

function jsonOf(data: Uint8Array | null | undefined): unknown {
  try {
    return JSON.parse(Buffer.from(data ?? []).toString('utf8'));
  } catch {
    return undefined;
  }
}
